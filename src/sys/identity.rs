//! Users and groups, from /etc/passwd and /etc/group themselves.
//!
//! Not through NSS: a static binary has none, and an image may hold neither file; numbers work
//! without them. **Invariant:** looked up before fork, never in the child.

use std::io;

/// One line of /etc/passwd (passwd(5)), or what a bare number comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// The name; the number where there is no entry.
    pub name: String,
    /// The user id.
    pub uid: u32,
    /// The primary group. Without an entry it is the number of the user: never root's by chance.
    pub gid: u32,
    /// `/` without an entry.
    pub home: String,
    /// Empty without an entry.
    pub shell: String,
}

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

    /// The account with this name or number.
    pub fn account(&self, user: &str) -> Option<Account> {
        let mut lines = self.passwd.lines().filter_map(parse_account);
        if let Some(account) = lines.find(|account| account.name == user) {
            return Some(account);
        }
        let uid = parse_id(user)?;
        let known = self.passwd.lines().filter_map(parse_account).find(|entry| entry.uid == uid);
        known.or_else(|| {
            let name = user.to_owned();
            Some(Account { name, uid, gid: uid, home: "/".to_owned(), shell: String::new() })
        })
    }

    /// The id of a group by name or number.
    pub fn group(&self, group: &str) -> Option<u32> {
        let entry = self.group.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(group)).then(|| parse_id(fields.nth(1)?)).flatten()
        });
        entry.or_else(|| parse_id(group))
    }

    /// The groups of which a user is a member, beside its primary one.
    pub fn groups_of(&self, name: &str) -> Vec<u32> {
        let member = |line: &str| {
            let mut fields = line.split(':');
            let gid = parse_id(fields.nth(2)?)?;
            fields.next()?.split(',').any(|member| member == name).then_some(gid)
        };
        self.group.lines().filter_map(member).collect()
    }
}

fn read(path: &str) -> io::Result<String> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

fn parse_account(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
    let uid = parse_id(fields.nth(1)?)?;
    let gid = parse_id(fields.next()?)?;
    let home = fields.nth(1)?.to_owned();
    let shell = fields.next().unwrap_or_default().to_owned();
    Some(Account { name, uid, gid, home, shell })
}

/// A number that can be an id: the two "no id" values of chown(2) and setresuid(2) are not.
fn parse_id(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id| digits && *id != u32::MAX && *id != 0xffff)
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
        for nobody in ["bad", "nope", "", "-1", "+5", "4294967295", "65535"] {
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
