//! `[authentication]` and `[authorization]`: who comes in, and what Clients may do.

use super::{Default, Key, Section, live, text};
use crate::config::value::{Kind, Value};

/// Words of `[authorization] default`.
const ACCESS: &[&str] = &["allow", "deny"];

pub(super) fn authentication() -> Section {
    let keys = vec![
        Key::new(
            "anonymous",
            Kind::Boolean,
            Default::Absent {
                meaning: "only where nothing else is written here, and on loopback addresses and \
                          Unix sockets",
                example: Value::Boolean(true),
            },
            "true: Clients come in that show neither a user name nor a password, as nobody in \
             particular. false: they\ndo not.",
        ),
        Key::new(
            "password_file",
            Kind::File,
            Default::Absent { meaning: "none", example: text("passwd") },
            "Users and their passwords, as `midge passwd` and mosquitto_passwd write them. The \
             file is read again\nwhen it changes, and on SIGHUP.",
        ),
    ];
    let doc = "Who comes in; see access.md. Without any of it, a broker that only this machine \
               can reach lets everybody in.";
    Section { name: "authentication", repeated: false, doc, keys: live(keys) }
}

pub(super) fn authorization() -> Section {
    let keys = vec![
        Key::new(
            "default",
            Kind::Choice(ACCESS),
            Default::Value(text("allow")),
            "What holds where no rule says anything.",
        ),
        Key::new(
            "acl_file",
            Kind::File,
            Default::Absent { meaning: "none", example: text("acl.conf") },
            "Rules in the form of mosquitto's acl_file, with the meaning that they have there. \
             The file is read again\nwhen it changes, and on SIGHUP.",
        ),
    ];
    let doc = "What Clients may do; see access.md.";
    Section { name: "authorization", repeated: false, doc, keys: live(keys) }
}
