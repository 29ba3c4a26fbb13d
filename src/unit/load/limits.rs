//! Resource limits as the kernel has them (getrlimit(2)), and which a unit asks for in vain.
//!
//! Not their values in a unit (`unit::limit`), and nothing is set here: the child does that.
//! **Invariant:** every limit has one name, that of its directive.

use nix::sys::resource::{Resource as Kernel, getrlimit};

use crate::unit::service::{Limit, Resource};

/// The kernel's resource, and the directive.
pub fn of_kernel(resource: Resource) -> (Kernel, &'static str) {
    match resource {
        Resource::Cpu => (Kernel::RLIMIT_CPU, "LimitCPU"),
        Resource::Fsize => (Kernel::RLIMIT_FSIZE, "LimitFSIZE"),
        Resource::Data => (Kernel::RLIMIT_DATA, "LimitDATA"),
        Resource::Stack => (Kernel::RLIMIT_STACK, "LimitSTACK"),
        Resource::Core => (Kernel::RLIMIT_CORE, "LimitCORE"),
        Resource::Rss => (Kernel::RLIMIT_RSS, "LimitRSS"),
        Resource::Nofile => (Kernel::RLIMIT_NOFILE, "LimitNOFILE"),
        Resource::As => (Kernel::RLIMIT_AS, "LimitAS"),
        Resource::Nproc => (Kernel::RLIMIT_NPROC, "LimitNPROC"),
        Resource::Memlock => (Kernel::RLIMIT_MEMLOCK, "LimitMEMLOCK"),
        Resource::Locks => (Kernel::RLIMIT_LOCKS, "LimitLOCKS"),
        Resource::Sigpending => (Kernel::RLIMIT_SIGPENDING, "LimitSIGPENDING"),
        Resource::Msgqueue => (Kernel::RLIMIT_MSGQUEUE, "LimitMSGQUEUE"),
        Resource::Nice => (Kernel::RLIMIT_NICE, "LimitNICE"),
        Resource::Rtprio => (Kernel::RLIMIT_RTPRIO, "LimitRTPRIO"),
        Resource::Rttime => (Kernel::RLIMIT_RTTIME, "LimitRTTIME"),
    }
}

/// A limit above rinit's own hard one, which only a privilege could raise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Its directive.
    pub directive: &'static str,
    /// What the unit asks for, in the directive's words: bytes and the like in plain numbers.
    pub wanted: String,
    /// rinit's own hard limit, which the service gets.
    pub hard: u64,
}

/// Whether a process without privileges gets less than this limit.
pub fn refused(resource: Resource, limit: Limit) -> Option<Refused> {
    let (kernel, directive) = of_kernel(resource);
    let (_, hard) = getrlimit(kernel).ok()?;
    let shown = |limit: Option<u64>| limit.map_or("infinity".to_string(), |it| it.to_string());
    let wanted = match limit.soft == limit.hard {
        true => shown(limit.hard),
        false => format!("{}:{}", shown(limit.soft), shown(limit.hard)),
    };
    let is_refused = limit.hard.unwrap_or(u64::MAX) > hard;
    is_refused.then_some(Refused { directive, wanted, hard })
}
