//! The names of users and groups: the one place where the filter asks the system.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use nix::unistd::{Gid, Group, Uid, User};

/// Who knows the names of users and groups.
pub trait Names: Send + Sync {
    /// The id of the user of that name, if there is one.
    fn user_id(&self, name: &[u8]) -> io::Result<Option<u32>>;
    /// The id of the group of that name, if there is one.
    fn group_id(&self, name: &[u8]) -> io::Result<Option<u32>>;
    /// The name of the user with that id, if it has one.
    fn user_name(&self, id: u32) -> io::Result<Option<Vec<u8>>>;
    /// The name of the group with that id, if it has one.
    fn group_name(&self, id: u32) -> io::Result<Option<Vec<u8>>>;
}

/// The names as the C library finds them (`/etc/passwd`, LDAP and so on).
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemNames;

impl Names for SystemNames {
    fn user_id(&self, name: &[u8]) -> io::Result<Option<u32>> {
        let Some(name) = c_name(name) else { return Ok(None) };
        Ok(User::from_name(name)?.map(|user| user.uid.as_raw()))
    }

    fn group_id(&self, name: &[u8]) -> io::Result<Option<u32>> {
        let Some(name) = c_name(name) else { return Ok(None) };
        Ok(Group::from_name(name)?.map(|group| group.gid.as_raw()))
    }

    fn user_name(&self, id: u32) -> io::Result<Option<Vec<u8>>> {
        Ok(User::from_uid(Uid::from_raw(id))?.map(|user| user.name.into_bytes()))
    }

    fn group_name(&self, id: u32) -> io::Result<Option<Vec<u8>>> {
        Ok(Group::from_gid(Gid::from_raw(id))?.map(|group| group.name.into_bytes()))
    }
}

/// nix takes names as `str`; one that is not UTF-8, or that C could not hold, is nobody's.
fn c_name(name: &[u8]) -> Option<&str> {
    std::str::from_utf8(name).ok().filter(|name| !name.is_empty() && !name.contains('\0'))
}

/// Whether an id is a user's or a group's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Whose {
    User,
    Group,
}

/// The name of an id; none if it has none.
type Known = Option<Arc<[u8]>>;

/// Names that are looked up once for every id: a lookup may read a file or ask a server.
pub(super) struct NameCache {
    names: Arc<dyn Names>,
    known: Mutex<HashMap<(Whose, u32), Known>>,
}

impl NameCache {
    pub(super) fn new(names: Arc<dyn Names>) -> Self {
        NameCache { names, known: Mutex::default() }
    }

    pub(super) fn id(&self, whose: Whose, name: &[u8]) -> io::Result<Option<u32>> {
        match whose {
            Whose::User => self.names.user_id(name),
            Whose::Group => self.names.group_id(name),
        }
    }

    /// The name of an id. A lookup that failed is tried again the next time.
    pub(super) fn name(&self, whose: Whose, id: u32) -> io::Result<Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = known.get(&(whose, id)) {
            return Ok(name.clone());
        }
        let name = match whose {
            Whose::User => self.names.user_name(id)?,
            Whose::Group => self.names.group_name(id)?,
        };
        let name = name.map(Arc::from);
        known.insert((whose, id), name.clone());
        Ok(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_the_id_0_and_a_name_with_a_nul_has_none() {
        assert_eq!(SystemNames.user_id(b"root").unwrap(), Some(0));
        assert_eq!(SystemNames.user_name(0).unwrap().as_deref(), Some(&b"root"[..]));
        assert_eq!(SystemNames.user_id(b"root\0x").unwrap(), None);
    }
}
