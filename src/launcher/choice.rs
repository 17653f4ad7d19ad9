//! The debuggers of which one serves a hit. With `--debugger auto` there are several, and the program
//! that was executed decides.

use super::command::Recipe;
use super::image::{Image, Kind};

/// Debuggers in the order in which they are asked whether they serve; the last one serves all.
#[derive(Debug)]
pub struct Choice {
    recipes: Vec<Recipe>,
    /// Whether the program decides.
    automatic: bool,
}

impl Choice {
    /// The debugger that was named.
    pub fn of(recipe: Recipe) -> Choice {
        Choice { recipes: vec![recipe], automatic: false }
    }

    /// The best of these for each program; `None` if none serves all of them.
    pub fn among(mut recipes: Vec<Recipe>) -> Option<Choice> {
        let rank = |recipe: &Recipe| recipe.debugger.auto.as_ref().map_or(0, |auto| auto.rank);
        recipes.sort_by_key(rank);
        let last = recipes.iter().position(|recipe| serves(recipe, Kind::Any))?;
        recipes.truncate(last + 1);
        Some(Choice { recipes, automatic: true })
    }

    /// Which of them serves programs of this kind, of those that `works` says yes of. The last one is not
    /// asked about.
    pub fn index_for(&self, image: &Image, mut works: impl FnMut(usize, &Recipe) -> bool) -> usize {
        let last = self.recipes.len() - 1;
        let serve = |(_, recipe): &(usize, &Recipe)| serves(recipe, image.kind);
        let mut able = self.recipes[..last].iter().enumerate().filter(serve);
        able.find(|(index, recipe)| works(*index, recipe)).map_or(last, |(index, _)| index)
    }

    pub fn get(&self, index: usize) -> &Recipe {
        &self.recipes[index.min(self.recipes.len() - 1)]
    }

    pub fn iter(&self) -> impl Iterator<Item = &Recipe> {
        self.recipes.iter()
    }

    pub fn is_automatic(&self) -> bool {
        self.automatic
    }

    /// Whether it has somebody in front of it, whichever it is.
    pub fn is_interactive(&self) -> bool {
        self.recipes.iter().any(|recipe| recipe.debugger.interactive)
    }
}

fn serves(recipe: &Recipe, kind: Kind) -> bool {
    let auto = recipe.debugger.auto.as_ref();
    auto.is_some_and(|auto| auto.images.iter().any(|&image| image == kind || image == Kind::Any))
}

#[cfg(test)]
mod tests {
    use super::super::command::Break;
    use super::super::template::Debugger;
    use super::*;

    fn recipe(name: &str, images: &str, rank: u32) -> Recipe {
        let text = format!(
            "name='{name}'\ndescription='x'\ncommand='x {{{{pid}}}}'\n[auto]\nimages=[{images}]\nrank={rank}\n"
        );
        let debugger = Debugger::parse(&text, "x").unwrap();
        Recipe {
            debugger,
            program: None,
            stop_at: Break::Entry,
            given: Vec::new(),
            listen: Default::default(),
            remember: false,
        }
    }

    fn chosen(choice: &Choice, kind: Kind) -> &str {
        let image = Image { kind, ..Image::default() };
        &choice.get(choice.index_for(&image, |_, _| true)).debugger.name
    }

    #[test]
    fn the_kind_of_program_decides_and_then_the_rank() {
        let all = vec![
            recipe("lldb", "'any'", 50),
            recipe("rust-lldb", "'rust'", 30),
            recipe("gdb", "'any'", 40),
            recipe("rust-gdb", "'rust'", 20),
            recipe("dlv", "'go'", 10),
        ];
        let choice = Choice::among(all).unwrap();
        assert_eq!(chosen(&choice, Kind::Go), "dlv");
        assert_eq!(chosen(&choice, Kind::Rust), "rust-gdb");
        assert_eq!(chosen(&choice, Kind::Any), "gdb");
    }

    #[test]
    fn one_that_does_not_work_leaves_its_programs_to_the_next() {
        let all = vec![recipe("rust-gdb", "'rust'", 20), recipe("gdb", "'any'", 40)];
        let choice = Choice::among(all).unwrap();
        let image = Image { kind: Kind::Rust, ..Image::default() };
        let index = choice.index_for(&image, |_, recipe| recipe.debugger.name != "rust-gdb");
        assert_eq!(choice.get(index).debugger.name, "gdb");
    }

    #[test]
    fn what_is_not_there_leaves_its_programs_to_the_next() {
        let choice = Choice::among(vec![recipe("lldb", "'any'", 50)]).unwrap();
        assert_eq!(chosen(&choice, Kind::Rust), "lldb");
        assert!(Choice::among(vec![recipe("dlv", "'go'", 10)]).is_none());
        assert!(Choice::among(Vec::new()).is_none());
    }
}
