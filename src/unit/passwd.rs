//! Users and groups by the text of /etc/passwd and /etc/group (passwd(5), group(5)).
//!
//! Not NSS: a static binary cannot load its modules, and a container rarely has any. No file
//! access: the caller reads. **Invariant:** a line that is not well-formed is no entry.
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods)]

/// A line of /etc/passwd.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
    /// Its home directory.
    pub home: String,
    /// Its shell.
    pub shell: String,
}

/// A line of /etc/group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its number.
    pub gid: u32,
    /// The users it has beside those whose primary group it is.
    pub members: Vec<String>,
}

/// The entries of /etc/passwd.
pub fn users(text: &str) -> Vec<User> {
    text.lines().filter_map(user).collect()
}

/// The entries of /etc/group.
pub fn groups(text: &str) -> Vec<Group> {
    text.lines().filter_map(group).collect()
}

/// A number that can be an id, as systemd reads `User=10001`.
pub fn id(text: &str) -> Option<u32> {
    field(text).filter(|_| text == "0" || !text.starts_with('0'))
}

/// Why a text that looks like a number is no [`id`].
pub fn why_no_id(text: &str) -> Option<&'static str> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || id(text).is_some() {
        return None;
    }
    Some(if digits != text {
        "a number of a user or group has no sign"
    } else if field(text).is_some() {
        "a number of a user or group does not begin with 0"
    } else if text.parse::<u32>().is_ok() {
        "to the kernel this number means nobody at all, -1 in 16 or 32 bits"
    } else {
        "the largest number of a user or group is 4294967294"
    })
}

/// A number in the files: the two "no id" values of chown(2) and setresuid(2) are none.
fn field(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id| digits && *id != u32::MAX && *id != 0xffff)
}

fn user(line: &str) -> Option<User> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
    let _password = fields.next()?;
    let uid = field(fields.next()?)?;
    let gid = field(fields.next()?)?;
    let _gecos = fields.next()?;
    let home = fields.next()?.to_string();
    let shell = fields.next().unwrap_or("").to_string();
    Some(User { name: name.to_string(), uid, gid, home, shell })
}

fn group(line: &str) -> Option<Group> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
    let _password = fields.next()?;
    let gid = field(fields.next()?)?;
    let members = fields.next().unwrap_or("").split(',').filter(|member| !member.is_empty());
    let members = members.map(|member| member.trim().to_string()).collect();
    Some(Group { name: name.to_string(), gid, members })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_what_is_none() {
        for (text, expected) in [("0", 0), ("5", 5), ("65534", 65534), ("4294967294", 4294967294)] {
            assert_eq!((id(text), why_no_id(text)), (Some(expected), None), "{text}");
        }
        for (text, why) in [
            ("+5", "sign"),
            ("-1", "sign"),
            ("05", "begin with 0"),
            ("00", "begin with 0"),
            ("65535", "nobody"),
            ("4294967295", "nobody"),
            ("4294967296", "largest"),
        ] {
            assert_eq!(id(text), None, "{text}");
            assert!(why_no_id(text).unwrap().contains(why), "{text}");
        }
        for name in ["", "+", "web", "5a", "5 "] {
            assert_eq!((id(name), why_no_id(name)), (None, None), "{name}");
        }
    }

    #[test]
    fn entries_and_what_is_none() {
        let text = "root:x:0:0:root:/root:/bin/bash\n#no:x:1:1::/:\n\nbad\nx:x:-1:0::/:/\n\
                    www-data:x:33:33:www:/var/www:/usr/sbin/nologin\nshort:x:5:6:g:/home";
        let users = users(text);
        let found: Vec<_> = users.iter().map(|user| (user.name.as_str(), user.uid)).collect();
        assert_eq!(found, [("root", 0), ("www-data", 33), ("short", 5)]);
        assert_eq!(users.first().unwrap().home, "/root");
        let groups = groups("adm:x:4:syslog,joe\n::\nempty:x:7:\n");
        assert_eq!(groups.first().unwrap().members, ["syslog", "joe"]);
        assert!(groups.last().unwrap().members.is_empty());
        assert_eq!(groups.len(), 2);
    }
}
