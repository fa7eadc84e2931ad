//! The text of each error, as the user sees it.

use super::{assert_error, file, load_text};
use crate::config::environment::Variables;
use crate::config::flags::Flags;
use crate::config::load;

#[test]
fn unknown_key() {
    assert_error(
        "[limits]\n# a comment\nqueue_mesages_max = 5000\n",
        "
error: there is no key `queue_mesages_max` in [limits]
  --> midge.toml:3:1
  |
3 | queue_mesages_max = 5000
  | ^^^^^^^^^^^^^^^^^
  = the nearest key is `queue_messages_max`",
    );
    assert_error(
        "[log]\nfile = 'x'",
        "
error: there is no key `file` in [log]
  --> midge.toml:2:1
  |
2 | file = 'x'
  | ^^^^
  = the keys of [log] are `level`, `format`, `trace_client`",
    );
    assert_error(
        "[broker]\nqueue_messages_max = 1",
        "
error: there is no key `queue_messages_max` in [broker]
  --> midge.toml:2:1
  |
2 | queue_messages_max = 1
  | ^^^^^^^^^^^^^^^^^^
  = `queue_messages_max` belongs to [limits]",
    );
    assert_error(
        "[limits]\nfoo = 1",
        "
error: there is no key `foo` in [limits]
  --> midge.toml:2:1
  |
2 | foo = 1
  | ^^^
  = `midge config reference` lists the keys of [limits]",
    );
}

#[test]
fn unknown_section() {
    assert_error(
        "[limit]\n",
        "
error: there is no section [limit]
  --> midge.toml:1:2
  |
1 | [limit]
  |  ^^^^^
  = the nearest section is [limits]",
    );
    assert_error(
        "[cluster]\n",
        "
error: there is no section [cluster]
  --> midge.toml:1:2
  |
1 | [cluster]
  |  ^^^^^^^
  = the sections are [[listener]], [authentication], [authorization], [broker], [storage], \
         [[durability]], \
         [capabilities], [limits], [shared_subscriptions], [[rewrite]], \
         [[auto_subscribe]], [requests], [sys_topics], [log], [shutdown]",
    );
    assert_error(
        "workers = 2\n",
        "
error: `workers` stands outside of its section
  --> midge.toml:1:1
  |
1 | workers = 2
  | ^^^^^^^
  = write it below [broker]",
    );
    assert_error(
        "[listener]\nbind = '0.0.0.0:1883'\n",
        "
error: `listener` must be a section
  --> midge.toml:1:2
  |
1 | [listener]
  |  ^^^^^^^^
  = write [[listener]]",
    );
}

#[test]
fn open_to_others() {
    let open = |text: &str| {
        let loaded = load(file(text), &Variables::new(), &Flags::default());
        loaded.map(|_| ()).map_err(|report| report.to_string())
    };
    let listener = "[[listener]]\nbind = '0.0.0.0:1883'\n";
    assert_eq!(
        open(listener).unwrap_err().trim(),
        "\
error: whoever reaches this address could connect, as no users are configured
  --> midge.toml:2:8
  |
2 | bind = '0.0.0.0:1883'
  |        ^^^^^^^^^^^^^^
  = give users: `password_file` in [authentication], which `midge passwd` writes; or allow it: \
`anonymous = true` in [authentication], or MIDGE_AUTHENTICATION_ANONYMOUS=true"
    );
    for said in ["password_file = 'passwd'", "anonymous = true", "anonymous = false"] {
        assert_eq!(open(&format!("{listener}[authentication]\n{said}\n")), Ok(()), "{said}");
    }
    let tls = "tls = { certificate = 'a', key = 'b', client_ca = 'c' }\n";
    assert_eq!(open(&format!("{listener}{tls}")), Ok(()));
    let optional = "tls.client_certificates = 'optional'\n";
    let tls = "tls.certificate = 'a'\ntls.key = 'b'\ntls.client_ca = 'c'\n";
    assert!(open(&format!("{listener}{tls}{optional}")).is_err());
    for local in ["127.0.0.1:1883", "[::1]:1883", "unix:midge.sock"] {
        assert_eq!(open(&format!("[[listener]]\nbind = '{local}'\n")), Ok(()), "{local}");
    }
    for other in ["[::]:1883", "192.0.2.1:1883", "[::ffff:192.0.2.1]:1883"] {
        assert!(open(&format!("[[listener]]\nbind = '{other}'\n")).is_err(), "{other}");
    }
}

#[test]
fn wrong_type() {
    assert_error(
        "[limits]\nqueue_messages_max = \"5000\"",
        r#"
error: `queue_messages_max` in [limits] must be an integer from 1 to 4294967295, but is a string
  --> midge.toml:2:22
  |
2 | queue_messages_max = "5000"
  |                      ^^^^^^
  = write it without quotes: 5000"#,
    );
    assert_error(
        "[shared_subscriptions]\nbacklog = 1.5",
        "
error: `backlog` in [shared_subscriptions] must be true or false, but is a number with a fraction
  --> midge.toml:2:11
  |
2 | backlog = 1.5
  |           ^^^",
    );
}

#[test]
fn out_of_range() {
    assert_error(
        "[limits]\nreceive_maximum = 70_000",
        "
error: `receive_maximum` in [limits] must be an integer from 1 to 65535, but is 70000
  --> midge.toml:2:19
  |
2 | receive_maximum = 70_000
  |                   ^^^^^^",
    );
    assert_error(
        "[broker]\nworkers = 0",
        "
error: `workers` in [broker] must be an integer from 1 to 64, but is 0
  --> midge.toml:2:11
  |
2 | workers = 0
  |           ^",
    );
    assert_error(
        "[shared_subscriptions]\nstrategy = 'round_robin'",
        "
error: `strategy` in [shared_subscriptions] must be \"round-robin\", \"random\", \"sticky\", \
         \"least-in-flight\", \"hash-by-client\" or \"hash-by-topic\", but is \"round_robin\"
  --> midge.toml:2:12
  |
2 | strategy = 'round_robin'
  |            ^^^^^^^^^^^^^
  = the nearest is \"round-robin\"",
    );
}

#[test]
fn invalid_topic() {
    assert_error(
        "[[rewrite]]\nfrom = 'a/#/b'\nto = 'c'",
        "
error: `from` in [[rewrite]] is not a valid Topic Filter: '#' has to be the last level of \
         a Topic Filter, and all of it
  --> midge.toml:2:8
  |
2 | from = 'a/#/b'
  |        ^^^^^^^",
    );
    assert_error(
        "[[rewrite]]\nfrom = 'a/+'\nto = 'b/$2'",
        "
error: `to` has $2, but `from` has 1 wildcard
  --> midge.toml:3:6
  |
3 | to = 'b/$2'
  |      ^^^^^^
  = $1 stands for what the first wildcard of `from` matches",
    );
    assert_error(
        "[[auto_subscribe]]\nfilter = '$share/g/a'\nno_local = true",
        "
error: `no_local` is not possible on a shared subscription
  --> midge.toml:3:12
  |
3 | no_local = true
  |            ^^^^",
    );
}

#[test]
fn listeners() {
    assert_error(
        "[[listener]]\nprotocol = 'mqtt'\n",
        r#"
error: this [[listener]] has no `bind`
  --> midge.toml:1:1
  |
1 | [[listener]]
  | ^^^^^^^^^^^^
  = for example: bind = "0.0.0.0:1883""#,
    );
    assert_error(
        "listener = [{ bind = '1883' }]\n",
        r#"
error: `bind` in [[listener]] is only a port: write "0.0.0.0:1883" or "127.0.0.1:1883"
  --> midge.toml:1:22
  |
1 | listener = [{ bind = '1883' }]
  |                      ^^^^^^
  = allowed: "ADDRESS:PORT", such as "0.0.0.0:1883" or "[::]:1883", or "unix:PATH""#,
    );
    assert_error(
        "[[listener]]\nbind = '0.0.0.0:1883'\n[[listener]]\nbind = '127.0.0.1:1883'\n",
        "
error: 127.0.0.1:1883 cannot be listened on beside 0.0.0.0:1883, as one includes the other
  --> midge.toml:4:8
  |
4 | bind = '127.0.0.1:1883'
  |        ^^^^^^^^^^^^^^^^",
    );
}

#[test]
fn not_toml() {
    assert_error(
        "[log]\nlevel = info\nformat = \"text\n",
        r#"
error: this is no value of TOML
  --> midge.toml:2:9
  |
2 | level = info
  |         ^^^^
  = text stands in quotes: "info"

error: this is not TOML: invalid basic string, expected `"`
  --> midge.toml:3:15
  |
3 | format = "text
  |               ^"#,
    );
}

#[test]
fn all_errors_at_once_in_the_order_of_the_file() {
    let text = "[shutdown]\ndeadline = 1\n[log]\nlevel = 'loud'\n[[listener]]\nbnd = 1\n[brokr]\n";
    let report = load_text(text).unwrap_err();
    let lines: Vec<String> = report.lines().collect();
    let expected = [
        "midge.toml:2:1: there is no key `deadline` in [shutdown] \
         (the keys of [shutdown] are `deadline_seconds`)",
        "midge.toml:4:9: `level` in [log] must be \"off\", \"error\", \"warn\", \"info\", \
         \"debug\" or \"trace\", but is \"loud\"",
        "midge.toml:5:1: this [[listener]] has no `bind` (for example: bind = \"0.0.0.0:1883\")",
        "midge.toml:6:1: there is no key `bnd` in [[listener]] (the nearest key is `bind`)",
        "midge.toml:7:2: there is no section [brokr] (the nearest section is [broker])",
    ];
    assert_eq!(lines, expected);
}
