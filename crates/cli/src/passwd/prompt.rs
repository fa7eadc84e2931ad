//! Asks for a password on the terminal, without showing it.
//!
//! The terminal must never stay mute: so Ctrl-C comes as a character, and not as a signal, while it
//! is.

use std::io::{self, IsTerminal, Read, Stdin, Write};

use nix::sys::termios::{
    LocalFlags, SetArg, SpecialCharacterIndices as Special, Termios, tcgetattr, tcsetattr,
};

use crate::endpoint::Secret;

/// How often to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Times {
    Once,
    Twice,
}

const CTRL_C: u8 = 0x03;
const CTRL_D: u8 = 0x04;
const CTRL_U: u8 = 0x15;
const BACKSPACE: u8 = 0x08;
const DELETE: u8 = 0x7f;

/// Asks for the password of a user.
pub(super) fn ask(user: &str, times: Times) -> Result<Secret, String> {
    if !io::stdin().is_terminal() {
        return Err("standard input is no terminal to ask for a password: give it with --stdin, \
                    or with --password-file FILE"
            .into());
    }
    match times {
        Times::Once => ask_once(&format!("Password of {user}: ")),
        Times::Twice => {
            let first = ask_once(&format!("New password of {user}: "))?;
            let second = ask_once("The same again: ")?;
            match first == second {
                true => Ok(first),
                false => Err("these are two different passwords; nothing was changed".into()),
            }
        }
    }
}

fn ask_once(prompt: &str) -> Result<Secret, String> {
    let stdin = io::stdin();
    let mute = MuteTerminal::new(&stdin);
    let mute = mute.map_err(|error| format!("cannot keep the terminal from echoing: {error}"))?;
    let mut stderr = io::stderr().lock();
    // If the prompt cannot be written, the user may still know what to type.
    let _ = stderr.write_all(prompt.as_bytes());
    let line = read_line(&mut stdin.lock());
    drop(mute);
    let _ = stderr.write_all(b"\n");
    line
}

/// Reads the keys up to the end of the line.
fn read_line(input: &mut impl Read) -> Result<Secret, String> {
    let mut typed = Vec::new();
    let mut byte = [0];
    loop {
        let count = input.read(&mut byte).map_err(|error| format!("cannot read: {error}"))?;
        match byte[0] {
            _ if count == 0 => return Err("there was no password".into()),
            b'\r' | b'\n' => break,
            CTRL_C => return Err("interrupted; nothing was changed".into()),
            CTRL_D if typed.is_empty() => return Err("there was no password".into()),
            CTRL_U => typed.clear(),
            BACKSPACE | DELETE => remove_character(&mut typed),
            control if control.is_ascii_control() => {
                return Err("a password that is typed has no control characters; give it with \
                            --password-file FILE"
                    .into());
            }
            other => typed.push(other),
        }
    }
    let text = String::from_utf8(typed).map_err(|_| "the password is not UTF-8".to_owned())?;
    Ok(Secret::new(text))
}

/// Removes the last character, which may be several bytes.
fn remove_character(typed: &mut Vec<u8>) {
    const IS_CONTINUATION: u8 = 0b1000_0000;
    while let Some(byte) = typed.pop() {
        if byte & 0b1100_0000 != IS_CONTINUATION {
            return;
        }
    }
}

/// A terminal that shows no key until this is dropped.
struct MuteTerminal<'a> {
    terminal: &'a Stdin,
    before: Termios,
}

impl<'a> MuteTerminal<'a> {
    fn new(terminal: &'a Stdin) -> nix::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut mute = before.clone();
        mute.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
        mute.control_chars[Special::VMIN as usize] = 1;
        mute.control_chars[Special::VTIME as usize] = 0;
        tcsetattr(terminal, SetArg::TCSAFLUSH, &mute)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for MuteTerminal<'_> {
    fn drop(&mut self) {
        // If the terminal is gone, there is nothing to restore.
        let _ = tcsetattr(self.terminal, SetArg::TCSAFLUSH, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_corrected() {
        for (typed, expected) in [
            ("hunter2\n", Ok("hunter2")),
            ("hunter2\rx", Ok("hunter2")),
            ("a b\u{7f}\u{8}c\n", Ok("ac")),
            ("xä\u{7f}y\n", Ok("xy")),
            ("wrong\u{15}right\n", Ok("right")),
            ("\u{7f}\n", Ok("")),
            ("x\u{3}\n", Err("interrupted")),
            ("\u{4}\n", Err("no password")),
            ("x\u{4}\n", Err("no control characters")),
            ("x\t\n", Err("no control characters")),
            ("hunter2", Err("no password")),
        ] {
            let line = read_line(&mut typed.as_bytes());
            match expected {
                Ok(expected) => assert_eq!(line.unwrap().expose(), expected, "{typed:?}"),
                Err(part) => assert!(line.unwrap_err().contains(part), "{typed:?}"),
            }
        }
        assert!(read_line(&mut &b"\xff\n"[..]).unwrap_err().contains("UTF-8"));
    }
}
