//! Templates that are `like` another one, and say only what is different.

use toml::{Table, Value};

/// A template's text and where it is from.
pub type Source = (String, String);

/// How long a chain of likenesses may be; a longer one is a ring.
const LONGEST: usize = 8;
/// What a template says for itself alone.
const OWN: [&str; 2] = ["like", "auto"];

/// The whole text of template `index`: its own, or completed by those that it is like.
pub fn complete(sources: &[Source], index: usize) -> Result<String, String> {
    // All are read at every start: what cannot be of interest is not parsed.
    if !sources[index].1.contains("like") {
        return Ok(sources[index].1.clone());
    }
    let Ok(mut table) = parse(&sources[index]) else { return Ok(sources[index].1.clone()) };
    if !table.contains_key("like") {
        return Ok(sources[index].1.clone());
    }
    let mut at = index;
    let mut next = table.remove("like");
    for _ in 0..LONGEST {
        let Some(like) = next else { return toml::to_string(&table).map_err(|e| e.to_string()) };
        let name = like.as_str().ok_or("`like` is not a name")?;
        at = find(sources, at, name)
            .ok_or_else(|| format!("it is like {name}, which there is not"))?;
        let mut base = parse(&sources[at])?;
        next = base.remove("like");
        for key in OWN {
            base.remove(key);
        }
        fill(&mut table, base);
    }
    Err("it is like one that is like itself".into())
}

fn parse((origin, text): &Source) -> Result<Table, String> {
    text.parse().map_err(|error| format!("{origin}: {error}"))
}

/// The first template of that name that is not this one: one of the user's may be like the built-in one
/// whose name it has.
fn find(sources: &[Source], but: usize, name: &str) -> Option<usize> {
    let named = |index: &usize| {
        let text = &sources[*index].1;
        if !text.contains(name) && !text.contains('\\') {
            return false;
        }
        let table = parse(&sources[*index]).unwrap_or_default();
        table.get("name").and_then(Value::as_str) == Some(name)
    };
    (0..sources.len()).filter(|&index| index != but).find(named)
}

/// Adds what is missing.
fn fill(table: &mut Table, base: Table) {
    for (key, value) in base {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(base)) => fill(inner, base),
            (Some(_), _) => {}
            (None, value) => drop(table.insert(key, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(texts: &[&str]) -> Vec<Source> {
        texts.iter().map(|text| ("x.toml".to_string(), text.to_string())).collect()
    }

    #[test]
    fn what_it_does_not_say_is_said_by_the_one_that_it_is_like() {
        let all = sources(&[
            "name='c'\nlike='b'\n[files]\nz='c'",
            "name='b'\nlike='a'\nprograms=['b']\n[files]\ny='b'\nz='b'",
            "name='a'\ncommand='a'\n[files]\nx='a'\ny='a'\n[auto]\nrank=1",
        ]);
        let table: Table = complete(&all, 0).unwrap().parse().unwrap();
        let expected: Table =
            "name='c'\ncommand='a'\nprograms=['b']\n[files]\nx='a'\ny='b'\nz='c'".parse().unwrap();
        assert_eq!(table, expected);
        assert_eq!(complete(&all, 2).unwrap(), all[2].1);
    }

    #[test]
    fn one_of_the_users_may_be_like_the_built_in_one_of_its_name() {
        let all = sources(&["name='a'\nlike='a'\nx=1", "name='a'\nx=2\ny=2"]);
        let table: Table = complete(&all, 0).unwrap().parse().unwrap();
        assert_eq!(table, "name='a'\nx=1\ny=2".parse().unwrap());
    }

    #[test]
    fn a_likeness_that_leads_nowhere_is_an_error() {
        assert!(complete(&sources(&["name='a'\nlike='b'"]), 0).unwrap_err().contains("like b"));
        let ring = sources(&["name='a'\nlike='b'", "name='b'\nlike='a'"]);
        assert!(complete(&ring, 0).unwrap_err().contains("itself"));
    }
}
