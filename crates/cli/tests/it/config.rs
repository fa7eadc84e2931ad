//! `midge config` as a process: what it prints where, and its exit codes.

use crate::command::{midge, midge_in};
use crate::directory::Directory;

const BROKEN: &str = "[limits]\nqueue_mesages_max = 5\n";

#[test]
fn check_is_content_with_a_right_file() {
    let directory = Directory::with_configuration("[broker]\nworkers = 1\n");
    let text = midge_in(directory.path(), &[], "config check").end().text();
    assert_eq!(text, "midge.toml: no errors\n");
    let text = midge_in(directory.path(), &[], "config check --json midge.toml").end().text();
    assert_eq!(text, "{\"errors\":[],\"file\":\"midge.toml\",\"ok\":true,\"warnings\":[]}\n");
}

#[test]
fn check_tells_the_errors_of_file_and_environment() {
    let directory = Directory::with_configuration(BROKEN);
    let variables = [("MIDGE_LOG_LEVL", "debug")];
    let stderr = midge_in(directory.path(), &variables, "config check midge.toml").end().failure(2);
    for part in [
        "midge.toml:2:1",
        "2 | queue_mesages_max = 5",
        "  | ^^^^^^^^^^^^^^^^^",
        "the nearest key is `queue_messages_max`",
        "the nearest is MIDGE_LOG_LEVEL",
        "2 errors in the configuration",
    ] {
        assert!(stderr.contains(part), "{part} is not in {stderr}");
    }
}

#[test]
fn check_tells_errors_to_programs() {
    let directory = Directory::with_configuration(BROKEN);
    let ended = midge_in(directory.path(), &[], "config check --json").end();
    assert_eq!(ended.code, Some(2));
    let answer: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(answer["ok"], false);
    let error = &answer["errors"][0];
    assert_eq!((&error["line"], &error["column"]), (&2.into(), &1.into()));
    assert_eq!(error["file"], "midge.toml");
}

#[test]
fn a_file_that_cannot_be_read_is_an_error() {
    let directory = Directory::empty();
    let stderr = midge_in(directory.path(), &[], "config check none.toml").end().failure(2);
    assert!(stderr.contains("none.toml: the configuration cannot be read"), "{stderr}");
    let stderr = midge_in(directory.path(), &[("MIDGE_CONFIG", "none.toml")], "").end().failure(2);
    assert!(stderr.contains("none.toml: the configuration cannot be read"), "{stderr}");
}

#[test]
fn show_names_the_origin_of_each_value() {
    let directory = Directory::with_configuration("[log]\nlevel = 'warn'\n");
    let variables = [("MIDGE_BROKER_WORKERS", "3")];
    let arguments = "config show --listen 127.0.0.1:1884";
    let text = midge_in(directory.path(), &variables, arguments).end().text();
    let line = |start: &str| {
        let line = text.lines().find(|line| line.starts_with(start));
        line.unwrap_or_else(|| panic!("{start} is not in {text}")).split_whitespace().last()
    };
    assert_eq!(line("bind = \"127.0.0.1:1884\""), Some("--listen"));
    assert_eq!(line("workers = 3"), Some("MIDGE_BROKER_WORKERS"));
    assert_eq!(line("level = \"warn\""), Some("midge.toml:2"));
    assert_eq!(line("format = \"text\""), Some("default"));
}

#[test]
fn show_says_where_data_is_and_how_many_workers_there_are() {
    let directory = Directory::with_configuration("[storage]\npath = 'data'\n");
    let here = directory.path().canonicalize().unwrap();
    let show = |variables: &[(&str, &str)], flags: &str| {
        let on_disk = [("MIDGE_STORAGE_IN_MEMORY", "false")];
        let variables = [&on_disk, variables].concat();
        let text = midge_in(&here, &variables, &format!("config show {flags}")).end().text();
        let lines = text.lines().map(|line| {
            let (setting, origin) = line.split_once(" # ").unwrap_or((line, ""));
            format!("{} # {origin}", setting.trim_end())
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    let (here, file) = (here.display(), "--config /dev/null");
    let data = "/a/data";
    for (variables, flags, expected) in [
        (
            &[][..],
            "",
            format!("path = \"{here}/data\" # midge.toml:2, below the working directory"),
        ),
        (&[], "--data /a/data", format!("path = \"{data}\" # --data")),
        (&[], "--in-memory", "# path is not used # --in-memory, all data is in memory".into()),
        (
            &[("STATE_DIRECTORY", data)],
            file,
            format!("path = \"{data}\" # default, $STATE_DIRECTORY"),
        ),
    ] {
        let text = show(variables, flags);
        assert!(text.lines().any(|line| line == expected), "{expected} is not in {text}");
    }
    let processors = std::thread::available_parallelism().unwrap().get().min(64);
    let expected = format!("workers = {processors} # default, one for each processor");
    assert!(show(&[], "").contains(&expected), "{expected}");
}

#[test]
fn check_points_into_tables_of_keys() {
    let text = "[[listener]]\nbind = '[::]:8883'\ntls = { certificate = 'a.pem', ky = 'a.key' }\n";
    let directory = Directory::with_configuration(text);
    let stderr = midge_in(directory.path(), &[], "config check").end().failure(2);
    for part in [
        "midge.toml:3:32",
        "3 | tls = { certificate = 'a.pem', ky = 'a.key' }",
        "there is no key `tls.ky` in [[listener]]",
        "the nearest key is `tls.key`",
        "`tls.certificate` needs `tls.key` beside it",
    ] {
        assert!(stderr.contains(part), "{part} is not in {stderr}");
    }
}

#[test]
fn check_opens_the_certificates_that_are_named() {
    let text = "[[listener]]\nbind = '[::1]:8883'\n\
                tls = { certificate = 'server.pem', key = 'other.key' }\n";
    let directory = Directory::with_configuration(text);
    let check = || midge_in(directory.path(), &[], "config check").end();
    let stderr = check().failure(2);
    assert!(stderr.contains("midge.toml:3:23") && stderr.contains("server.pem"), "{stderr}");
    midge_in(directory.path(), &[], "certs --directory .").end().text();
    std::fs::copy(directory.path().join("client.key"), directory.path().join("other.key")).unwrap();
    let stderr = check().failure(2);
    assert!(stderr.contains("other.key"), "{stderr}");
    std::fs::copy(directory.path().join("server.key"), directory.path().join("other.key")).unwrap();
    check().text();
}

#[test]
fn show_has_what_means_something_for_a_listener() {
    let directory = Directory::with_configuration(
        "[[listener]]\nbind = 'unix:midge.sock'\nprotocol = 'websocket'\n",
    );
    let variables = [
        ("MIDGE_LISTENER_0_UNIX_MODE", "0600"),
        ("MIDGE_LISTENER_0_WEBSOCKET_ORIGINS", "https://a.example,https://b.example"),
    ];
    let text = midge_in(directory.path(), &variables, "config show").end().text();
    for part in [
        "bind = \"unix:midge.sock\"",
        "unix.mode = \"0600\"",
        "websocket.path = \"/mqtt\"",
        "websocket.origins = [\"https://a.example\", \"https://b.example\"]",
        "# tls.certificate is not set",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    for part in ["tcp.", "quic.", "tls.client"] {
        assert!(!text.contains(part), "{part} is in {text}");
    }
    // The configuration that it prints is valid, too.
    directory.write(&text);
    let text = midge_in(directory.path(), &[], "config check").end().text();
    assert_eq!(text, "midge.toml: no errors\n");
}

#[test]
fn the_reference_is_a_right_configuration() {
    let directory = Directory::with_configuration(&midge("config reference").end().text());
    let text = midge_in(directory.path(), &[], "config check midge.toml").end().text();
    assert_eq!(text, "midge.toml: no errors\n");
    let page = midge("config reference --markdown").end().text();
    assert!(page.starts_with("# Configuration\n"), "{page}");
}

#[test]
fn check_warns_of_accounts_that_this_machine_does_not_have() {
    let text = "[[listener]]\nbind = 'unix:a.sock'\n\
                unix = { owner = 'no-such-user', group = 'no-such-group' }\n";
    let directory = Directory::with_configuration(text);
    let ended = midge_in(directory.path(), &[], "config check").end();
    let stderr = ended.stderr;
    assert_eq!(ended.code, Some(0), "{stderr}");
    for part in [
        "warning: midge.toml:3:18: `unix.owner`: there is no user 'no-such-user' on this machine",
        "warning: midge.toml:3:42: `unix.group`: there is no group 'no-such-group'",
    ] {
        assert!(stderr.contains(part), "{part} is not in {stderr}");
    }
    let json = midge_in(directory.path(), &[], "config check --json").end();
    let answer: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(
        (&answer["ok"], answer["warnings"].as_array().map(Vec::len)),
        (&true.into(), Some(2))
    );

    directory.write("[[listener]]\nbind = 'unix:a.sock'\nunix = { owner = 'root', group = '0' }\n");
    let text = midge_in(directory.path(), &[], "config check").end().text();
    assert_eq!(text, "midge.toml: no errors\n");
}
