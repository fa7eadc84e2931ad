//! Where the payload of a message comes from: the command line, a file or standard input.

use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;
use std::rc::Rc;

use clap::Args;

use super::error::ClientError;

/// The largest payload that fits any packet at all.
const PAYLOAD_BYTES_MAX: usize = 268_435_455;

/// The sources of one message.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Message")]
#[group(id = "payload", multiple = false)]
pub(crate) struct PayloadArgs {
    /// The payload itself
    #[arg(short = 'm', long, value_name = "TEXT", allow_hyphen_values = true)]
    message: Option<String>,

    /// Send an empty payload, which with -r removes the retained message
    #[arg(short = 'n', long)]
    null_message: bool,

    /// Send the content of a file
    #[arg(short = 'f', long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// Send all of standard input as one message; an empty one is refused
    #[arg(short = 's', long)]
    stdin_file: bool,
}

impl PayloadArgs {
    /// Returns the payload, or `None` if no source is named.
    pub(crate) fn read(&self) -> Result<Option<Rc<[u8]>>, ClientError> {
        let payload = if let Some(message) = &self.message {
            message.clone().into_bytes()
        } else if let Some(path) = &self.file {
            let file = path.display().to_string();
            let reader = fs::File::open(path).map_err(|error| cannot_read(&file, &error))?;
            read_all(reader, &file, PAYLOAD_BYTES_MAX)?
        } else if self.stdin_file {
            read_all(io::stdin().lock(), "standard input", PAYLOAD_BYTES_MAX)
                .and_then(refuse_empty)?
        } else if self.null_message {
            Vec::new()
        } else {
            return Ok(None);
        };
        Ok(Some(payload.into()))
    }
}

/// Reads everything, unless it is more than `bytes_max`.
fn read_all(reader: impl Read, name: &str, bytes_max: usize) -> Result<Vec<u8>, ClientError> {
    let mut payload = Vec::new();
    let mut reader = reader.take(bytes_max as u64 + 1);
    reader.read_to_end(&mut payload).map_err(|error| cannot_read(name, &error))?;
    if payload.len() > bytes_max {
        let text = format!("{name} is too large for one message: MQTT allows {bytes_max}");
        return Err(ClientError::Refused(text));
    }
    Ok(payload)
}

/// Refuses an empty payload from standard input: nearly always a program in front of the pipe has
/// failed, and the payload would remove a retained message.
fn refuse_empty(payload: Vec<u8>) -> Result<Vec<u8>, ClientError> {
    if payload.is_empty() {
        let text = "standard input is empty, so nothing was sent: -n sends an empty message";
        return Err(ClientError::Refused(text.to_owned()));
    }
    Ok(payload)
}

fn cannot_read(name: &str, error: &io::Error) -> ClientError {
    ClientError::Refused(format!("cannot read {name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> PayloadArgs {
        PayloadArgs { message: None, null_message: false, file: None, stdin_file: false }
    }

    #[test]
    fn reads_each_source() {
        let text = PayloadArgs { message: Some("hi".to_owned()), ..args() };
        assert_eq!(text.read().unwrap().as_deref(), Some(&b"hi"[..]));
        let null = PayloadArgs { null_message: true, ..args() };
        assert_eq!(null.read().unwrap().as_deref(), Some(&b""[..]));
        let file = PayloadArgs { file: Some("Cargo.toml".into()), ..args() };
        assert!(file.read().unwrap().unwrap().starts_with(b"[package]"));
        assert_eq!(args().read().unwrap(), None);
    }

    #[test]
    fn names_a_file_that_it_cannot_read() {
        let file = PayloadArgs { file: Some("no/such/file".into()), ..args() };
        let error = file.read().unwrap_err();
        assert!(error.to_string().starts_with("cannot read no/such/file: "), "{error}");
        assert_eq!(error.exit_code(), 1);
    }

    #[test]
    fn stops_reading_what_no_packet_can_hold() {
        let error = read_all(io::repeat(0), "zeros", 1000).unwrap_err();
        assert!(error.to_string().contains("zeros is too large"), "{error}");
        assert_eq!(read_all(&b"abc"[..], "abc", 3).unwrap(), b"abc");
    }
}
