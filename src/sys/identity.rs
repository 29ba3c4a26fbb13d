//! Users and groups, from /etc/passwd and /etc/group themselves.
//!
//! Not through NSS: a static binary has none, and an image may hold neither file; numbers work
//! without them. **Invariant:** looked up before fork, never in the child.

use std::io;

use crate::unit::passwd::{self, User, id};

/// The contents of the two files, read when a spawn needs them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Database {
    passwd: String,
    group: String,
}

impl Database {
    /// Reads both; a missing file is an empty one.
    ///
    /// # Errors
    /// A file is there and cannot be read.
    pub fn read() -> io::Result<Database> {
        Ok(Database { passwd: read("/etc/passwd")?, group: read("/etc/group")? })
    }

    /// The account with this name or number. A number needs no entry: its group is then the same
    /// number, never root's by chance, its home `/`, its shell empty.
    pub fn account(&self, user: &str) -> Option<User> {
        let users = passwd::users(&self.passwd);
        if let Some(account) = users.iter().find(|account| account.name == user) {
            return Some(account.clone());
        }
        let uid = id(user)?;
        users.into_iter().find(|entry| entry.uid == uid).or_else(|| {
            let name = user.to_owned();
            Some(User { name, uid, gid: uid, home: "/".to_owned(), shell: String::new() })
        })
    }

    /// The id of a group by name or number.
    pub fn group(&self, group: &str) -> Option<u32> {
        let groups = passwd::groups(&self.group);
        let entry = groups.into_iter().find(|entry| entry.name == group);
        entry.map(|entry| entry.gid).or_else(|| id(group))
    }

    /// The groups of which a user is a member, beside its primary one.
    pub fn groups_of(&self, name: &str) -> Vec<u32> {
        let groups = passwd::groups(&self.group).into_iter();
        let of = groups.filter(|group| group.members.iter().any(|member| member == name));
        of.map(|group| group.gid).collect()
    }
}

fn read(path: &str) -> io::Result<String> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Database {
        Database {
            passwd: "root:x:0:0:root:/root:/bin/sh\n# broken\nweb:x:33:34:W:/srv:/bin/false\n\
                bad:x:y:1::/:\n"
                .to_owned(),
            group: "root:x:0:\nwww:x:34:\nlogs:x:4:adm,web\nssl:x:9:web\nnear:x:8:webber\n"
                .to_owned(),
        }
    }

    #[test]
    fn accounts() {
        let database = database();
        let web = database.account("web").unwrap();
        assert_eq!((web.uid, web.gid, web.home.as_str()), (33, 34, "/srv"));
        assert_eq!(database.account("33"), Some(web));
        let unknown = database.account("10001").unwrap();
        assert_eq!((unknown.uid, unknown.gid, unknown.home.as_str()), (10001, 10001, "/"));
        for nobody in ["bad", "nope", "", "-1", "+5", "05", "4294967295", "65535"] {
            assert_eq!(database.account(nobody), None, "{nobody}");
        }
    }

    #[test]
    fn groups() {
        let database = database();
        assert_eq!(database.group("www"), Some(34));
        assert_eq!(database.group("77"), Some(77));
        assert_eq!(database.group("nope"), None);
        assert_eq!(database.groups_of("web"), [4, 9]);
        assert!(Database::default().groups_of("web").is_empty());
    }
}
