//! `midge passwd` on a terminal: it asks twice, shows nothing, and leaves the terminal as it was.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread::{self, JoinHandle};

use nix::pty::{OpenptyResult, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};

use crate::directory::Directory;

const CANARY: &str = "c4nary";

/// A command on a terminal of its own.
struct Scene {
    child: Child,
    stderr: ChildStderr,
    keyboard: File,
    terminal: OwnedFd,
    screen: JoinHandle<Vec<u8>>,
}

impl Scene {
    fn new(directory: &Directory, arguments: &str) -> Self {
        let OpenptyResult { master, slave } = openpty(None, None).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_midge"));
        command.current_dir(directory.path()).arg("passwd").args(arguments.split(' '));
        command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        drop(command);
        let keyboard = File::from(master);
        let mut screen = keyboard.try_clone().unwrap();
        let screen = thread::spawn(move || {
            let mut shown = Vec::new();
            // It ends with an error when the last one has closed the terminal.
            let _ = screen.read_to_end(&mut shown);
            shown
        });
        let stderr = child.stderr.take().unwrap();
        Self { child, stderr, keyboard, terminal: slave, screen }
    }

    /// Waits for a prompt, and types.
    fn answer(&mut self, prompt: &str, keys: &str) {
        let mut asked = vec![0; prompt.len()];
        self.stderr.read_exact(&mut asked).unwrap();
        assert_eq!(String::from_utf8_lossy(&asked), prompt);
        let flags = tcgetattr(&self.terminal).unwrap().local_flags;
        assert!(!flags.contains(LocalFlags::ECHO), "the prompt comes when nothing is shown");
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Returns the exit code and what is left on standard error.
    fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        let code = self.child.wait().unwrap().code();
        let flags = tcgetattr(&self.terminal).unwrap().local_flags;
        let usual = LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG;
        assert!(flags.contains(usual), "the terminal is as it was");
        drop(self.terminal);
        let shown = String::from_utf8_lossy(&self.screen.join().unwrap()).into_owned();
        assert!(!shown.contains(CANARY) && !rest.contains(CANARY), "{shown} {rest}");
        (code, rest)
    }
}

#[test]
fn a_password_is_asked_for_twice_and_not_shown() {
    let directory = Directory::empty();
    let mut scene = Scene::new(&directory, "users alice");
    scene.answer("New password of alice: ", "wrong\u{15}c4narx\u{7f}y\r");
    scene.answer("\nThe same again: ", "c4nary\r");
    let (code, said) = scene.end();
    assert_eq!(code, Some(0), "{said}");
    for (password, expected) in [("c4nary\r", 0), ("c4narx\r", 1), ("\r", 1)] {
        let mut scene = Scene::new(&directory, "users alice --verify");
        scene.answer("Password of alice: ", password);
        assert_eq!(scene.end().0, Some(expected), "{password:?}");
    }
}

#[test]
fn mistakes_and_interruptions_change_nothing() {
    let directory = Directory::empty();
    for (keys, part) in [
        (&["c4nary\r", "c4narx\r"][..], "two different passwords"),
        (&["c4nary\u{3}"], "interrupted"),
        (&["c4nary\r", "\u{3}"], "interrupted"),
        (&["\u{4}"], "there was no password"),
        (&["c4\tnary\r"], "no control characters"),
        (&["\r", "\r"], "the password is empty"),
    ] {
        let mut scene = Scene::new(&directory, "users alice");
        for (keys, prompt) in keys.iter().zip(["New password of alice: ", "\nThe same again: "]) {
            scene.answer(prompt, keys);
        }
        let (code, said) = scene.end();
        assert!(code == Some(1) && said.contains(part), "{keys:?}: {said}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
