//! `midge passwd`: the files it writes and leaves alone, and what mosquitto says about them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::thread;

use crate::broker::free_port;
use crate::command::{Ended, Running, midge, midge_in};
use crate::directory::Directory;

/// A password that no output may have in it.
const CANARY: &str = "c4nary-pässword";

/// Runs the command with this on its standard input, and looks for the canary in its output.
fn passwd_fed(directory: &Directory, arguments: &str, input: &str) -> Ended {
    let running = midge_in(directory.path(), &[], &format!("passwd {arguments}"));
    let ended = running.feed(input.as_bytes()).end();
    let said = format!("{ended:?}");
    assert!(!said.contains(CANARY), "{arguments}: {said}");
    ended
}

fn passwd(directory: &Directory, arguments: &str) -> Ended {
    passwd_fed(directory, arguments, "")
}

fn read(directory: &Directory) -> String {
    fs::read_to_string(directory.path().join("users")).unwrap()
}

fn write(directory: &Directory, text: &str) {
    fs::write(directory.path().join("users"), text).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Returns whether midge says that this is the user's password.
fn verifies(directory: &Directory, user: &str, password: &str) -> bool {
    let ended = passwd_fed(directory, &format!("users {user} --verify --stdin"), password);
    match ended.code {
        Some(0) => true,
        Some(1) if ended.stderr.contains("the password is not that of") => false,
        _ => panic!("{ended:?}"),
    }
}

/// Makes a line with mosquitto's tool, which may be of any version.
fn mosquitto_passwd(directory: &Directory, arguments: &[&str]) -> bool {
    let mut command = Command::new("mosquitto_passwd");
    let output = command.current_dir(directory.path()).args(arguments).output();
    output.expect("mosquitto_passwd is installed").status.success()
}

#[test]
fn files_of_mosquitto_passwd_are_verified() {
    let directory = Directory::empty();
    // Debian's knows the first two, mosquitto 2.1 the last two.
    let algorithms = ["sha512", "sha512-pbkdf2", "argon2id"];
    let mut count = 0;
    write(&directory, "");
    for algorithm in algorithms {
        if !mosquitto_passwd(&directory, &["-H", algorithm, "-b", "users", algorithm, CANARY]) {
            continue;
        }
        count += 1;
        assert!(verifies(&directory, algorithm, CANARY), "{}", read(&directory));
        assert!(!verifies(&directory, algorithm, "other"));
    }
    assert!(count >= 2, "mosquitto_passwd knows two algorithms at least");
    // And its tool finds its way in a file that midge has written to.
    passwd_fed(&directory, "users alice --stdin", CANARY).text();
    assert!(mosquitto_passwd(&directory, &["-D", "users", "sha512-pbkdf2"]));
    assert!(verifies(&directory, "alice", CANARY));
    let error = passwd(&directory, "users sha512-pbkdf2 --verify --stdin").failure(1);
    assert!(error.contains("there is no user 'sha512-pbkdf2' in users"), "{error}");
}

/// A mosquitto that lets in the users of the file.
fn start_mosquitto(directory: &Directory, port: u16) -> Running {
    let users = directory.path().join("users");
    let text = format!(
        "listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {}\nlog_dest stderr\n\
         user root\n",
        users.display()
    );
    let path = directory.path().join("mosquitto.conf");
    fs::write(&path, text).unwrap();
    let sbin = "/usr/sbin/mosquitto";
    let program = if Path::new(sbin).exists() { sbin } else { "mosquitto" };
    Running::start(program, &["-c", path.to_str().unwrap()]).wait_for("running")
}

#[test]
fn a_real_mosquitto_accepts_hashes_of_midge() {
    let directory = Directory::empty();
    let pbkdf2 = "--stdin --algorithm pbkdf2-sha512";
    passwd_fed(&directory, &format!("users alice {pbkdf2}"), CANARY).text();
    passwd_fed(&directory, &format!("users bob {pbkdf2} --iterations 101"), "of bob\n").text();
    assert!(read(&directory).contains("alice:$7$210000$") && read(&directory).contains("$7$101$"));
    let port = free_port();
    let _mosquitto = start_mosquitto(&directory, port);
    for (user, password, is_let_in) in
        [("alice", CANARY, true), ("bob", "of bob", true), ("bob", "of-alice", false)]
    {
        let file = directory.path().join("password");
        fs::write(&file, password).unwrap();
        let file = file.display();
        let published = midge(&format!(
            "pub -h 127.0.0.1 -p {port} -u {user} --password-file {file} -t t -m x -q 1"
        ));
        assert_eq!(published.end().code == Some(0), is_let_in, "{user} {password}");
    }
}

#[test]
fn a_new_file_is_for_its_owner_only() {
    let directory = Directory::empty();
    let said = passwd_fed(&directory, "users alice --stdin", CANARY);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stderr.contains("users is made; only you can read it"), "{said:?}");
    assert!(said.stderr.contains("'alice' is added to users"), "{said:?}");
    assert_eq!(mode(&directory.path().join("users")), 0o600);
    assert!(read(&directory).starts_with("alice:$argon2id$v=19$m=19456,t=2,p=1$"));
    let names: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "nothing is left beside it: {names:?}");
    assert!(
        verifies(&directory, "alice", CANARY)
            && verifies(&directory, "alice", &format!("{CANARY}\r\n"))
    );
    assert!(!verifies(&directory, "alice", &CANARY[1..]));
}

#[test]
fn comments_order_owner_and_mode_stay() {
    let directory = Directory::empty();
    let path = directory.path().join("users");
    passwd_fed(&directory, "users bob --stdin --algorithm pbkdf2-sha512 --iterations 1", "b")
        .text();
    let bob = read(&directory).trim_end().to_owned();
    write(&directory, &format!("# first\r\n\nalice:{}\n{bob}", &bob[4..]));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let is_root = nix::unistd::geteuid().is_root();
    if is_root {
        chown(&path, Some(1234), Some(2345)).unwrap();
    }
    let said = passwd_fed(&directory, "users alice --stdin", CANARY);
    assert!(said.stderr.contains("the password of 'alice' in users is replaced"), "{said:?}");
    passwd(&directory, "users carol --generate").text();
    passwd(&directory, "users bob -D").text();
    let text = read(&directory);
    let begins: Vec<_> = text.split('\n').map(|line| &line[..line.len().min(11)]).collect();
    assert_eq!(begins, ["# first\r", "", "alice:$argo", "carol:$midg", ""]);
    assert_eq!(mode(&path), 0o640);
    let metadata = fs::metadata(&path).unwrap();
    let owner = if is_root { (1234, 2345) } else { (metadata.uid(), metadata.gid()) };
    assert_eq!((metadata.uid(), metadata.gid()), owner);
}

#[test]
fn a_link_stays_and_its_target_changes() {
    let directory = Directory::empty();
    fs::create_dir(directory.path().join("real")).unwrap();
    fs::write(directory.path().join("real/users.txt"), "").unwrap();
    let link = directory.path().join("users");
    symlink("real/users.txt", &link).unwrap();
    passwd_fed(&directory, "users alice --stdin", CANARY).text();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let target = fs::read_to_string(directory.path().join("real/users.txt")).unwrap();
    assert!(target.starts_with("alice:$"), "{target}");
    fs::remove_file(directory.path().join("real/users.txt")).unwrap();
    let error = passwd_fed(&directory, "users alice --stdin", CANARY).failure(1);
    assert!(error.contains("cannot follow the link users"), "{error}");
}

#[test]
fn passwords_in_plain_text_are_upgraded() {
    let directory = Directory::empty();
    passwd_fed(&directory, "users bob --stdin", "of bob").text();
    let bob = read(&directory);
    write(&directory, &format!("# users\nalice: {CANARY}\n{bob}carol:a:b c\n"));
    let error = passwd_fed(&directory, "users dave --stdin", CANARY).failure(1);
    assert!(error.contains("users:2:8: a hash begins with `$`") && error.contains("--upgrade"));
    let upgraded = passwd(&directory, "users --upgrade --algorithm pbkdf2-sha512 --iterations 7");
    assert!(upgraded.stderr.contains("2 passwords in users are hashes now"), "{upgraded:?}");
    let text = read(&directory);
    assert!(text.starts_with("# users\nalice:$7$7$") && text.contains(&bob), "{text}");
    assert!(verifies(&directory, "alice", CANARY) && verifies(&directory, "carol", "a:b c"));
    let again = passwd(&directory, "users -U");
    assert!(again.stderr.contains("there is no password in plain text"), "{again:?}");
    assert_eq!(read(&directory), text);

    let broken = format!("{text}erin:$7$101$broken$x\n");
    write(&directory, &broken);
    let error = passwd(&directory, "users -U").failure(1);
    assert!(error.contains("users:5:13: the salt belongs here"), "{error}");
    assert!(!error.contains("broken"), "{error}");
    assert_eq!(read(&directory), broken, "nothing was changed");
    passwd(&directory, "users erin -D").text();
    assert_eq!(read(&directory), text, "a broken line can be removed");
}

#[test]
fn a_generated_secret_is_printed_once_and_stored_as_a_hash() {
    let directory = Directory::empty();
    for (more, begin) in [
        ("", "s:$midge-secret$"),
        ("--algorithm pbkdf2-sha512 --iterations 3", "s:$7$3$"),
        ("--algorithm argon2id", "s:$argon2id$"),
    ] {
        let output = passwd(&directory, &format!("users s --generate {more}")).text();
        let secret = output.strip_suffix('\n').unwrap();
        assert!(secret.len() == 40 && secret.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert!(read(&directory).starts_with(begin) && !read(&directory).contains(secret));
        assert!(verifies(&directory, "s", secret) && !verifies(&directory, "s", &secret[1..]));
    }
}

#[test]
fn explains_what_cannot_be() {
    let directory = Directory::empty();
    fs::write(directory.path().join("password"), CANARY).unwrap();
    fs::write(directory.path().join("two"), format!("{CANARY}\n{CANARY}\n")).unwrap();
    for (arguments, input, code, part) in [
        ("users a:b --stdin", CANARY, 2, "has no `:`"),
        ("users #a --stdin", CANARY, 2, "does not begin with `#`"),
        ("users", "", 2, "<USER>"),
        ("users alice --pw", CANARY, 2, "unexpected argument"),
        ("users alice --delete --verify", "", 2, "cannot be used with"),
        ("users alice --upgrade", "", 2, "cannot be used with"),
        ("users alice --stdin --password-file password", "", 2, "cannot be used with"),
        ("users alice --iterations 9 --algorithm argon2id", "", 2, "is for --algorithm pbkdf2"),
        ("users alice --iterations 9", "", 2, "--algorithm"),
        ("users alice --algorithm pbkdf2-sha512 --iterations 2000001", "", 2, "1..=2000000"),
        ("users alice --algorithm md5", "", 2, "argon2id, pbkdf2-sha512"),
        ("users alice", CANARY, 1, "--stdin, or with --password-file FILE"),
        ("users alice --stdin", "", 1, "--stdin: standard input: it is empty"),
        ("users alice --stdin", "c4nary\nc4nary\n", 1, "more than one line"),
        ("users alice --password-file two", "", 1, "two: it has more than one line"),
        ("users alice --password-file none", "", 1, "none: No such file"),
        ("users alice --delete", "", 1, "there is no password file users"),
        ("users --upgrade", "", 1, "there is no password file users"),
        ("users alice --verify --stdin", CANARY, 1, "cannot read the password file users"),
        ("none/users alice --stdin", CANARY, 1, "cannot open the directory none"),
        (". alice --stdin", CANARY, 1, ". is no"),
    ] {
        let error = passwd_fed(&directory, arguments, input).failure(code);
        assert!(error.contains(part) && !error.contains("c4nary"), "{arguments}: {error}");
        assert!(!directory.path().join("users").exists(), "{arguments}");
    }
    for name in ["a\tb", "a\nb", " a", "", "a\u{7f}"] {
        let arguments = ["passwd", "users", name, "--generate"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_midge"));
        let output = command.current_dir(directory.path()).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name:?}");
    }
    passwd(&directory, "users alice --password-file password").text();
    let error = passwd(&directory, "users bob --delete").failure(1);
    assert!(error.contains("there is no user 'bob' in users"), "{error}");
    write(&directory, &format!("{}alice:{CANARY}\n{CANARY}\n", read(&directory)));
    for arguments in ["users bob --generate", "users bob -D", "users -U", "users alice --verify"] {
        let error = passwd(&directory, arguments).failure(1);
        assert!(error.contains("users:2:1: this user stands in line 1 already"), "{error}");
    }
}

#[test]
fn commands_at_the_same_time_lose_nothing() {
    let directory = Directory::empty();
    thread::scope(|scope| {
        for number in 0..8 {
            let directory = &directory;
            scope.spawn(move || {
                passwd(directory, &format!("users user-{number} --generate")).text();
            });
        }
    });
    assert_eq!(read(&directory).lines().count(), 8, "{}", read(&directory));
}

#[test]
fn the_file_in_the_documentation_is_one() {
    let page = include_str!("../../../../docs/passwords.md");
    let directory = Directory::empty();
    let example = page.split("```").find(|part| part.contains("\nalice:$")).unwrap();
    write(&directory, example);
    assert!(verifies(&directory, "alice", "password") && verifies(&directory, "bob", "hunter2"));
}

#[test]
fn the_help_has_examples() {
    let text = midge("passwd --help").end().text();
    for part in ["Examples:", "--generate", "Exit codes:", "[default: argon2id]"] {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(part), "{part}: {text}");
    }
}
