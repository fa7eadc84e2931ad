//! Moves bytes between the session and the streams of its connection, as far as these take and have
//! some.

use std::io::ErrorKind;

use super::Driver;
use super::channel::Channel;
use super::loss::LostIn;
use crate::client::error::ClientError;
use crate::client::session::CONTROL;
use crate::endpoint::greeting_of_another_protocol;

impl Driver {
    /// Writes what the streams take. Returns whether that was the last of what was to be sent.
    pub(super) fn transmit(&mut self) -> bool {
        let mut progress = false;
        for stream in 0..self.streams.len() {
            progress |= self.transmit_on(stream);
        }
        if self.lost.is_none()
            && let Some(Channel { connection, .. }) = self.streams.first_mut()
            && let Err(error) = connection.flush()
        {
            self.lose_at_write(&error);
        }
        progress && self.session.unsent_bytes() == 0
    }

    /// Writes what a stream takes. Returns whether something was written.
    fn transmit_on(&mut self, stream: usize) -> bool {
        let mut progress = false;
        while self.lost.is_none() && !self.session.outbound(stream).is_empty() {
            match self.streams[stream].connection.write(self.session.outbound(stream)) {
                Ok(0) => self.lose(None),
                Ok(length) => {
                    self.session.handle_sent(stream, length);
                    progress = true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if stream == CONTROL => self.lose_at_write(&error),
                // Reading from the stream tells why.
                Err(_) => {
                    let length = self.session.outbound(stream).len();
                    self.session.handle_sent(stream, length);
                    self.streams[stream].readable = true;
                }
            }
        }
        progress
    }

    pub(super) fn is_readable(&self) -> bool {
        self.streams.iter().any(|channel| channel.readable)
    }

    /// Reads once from a stream that may have something, preferably the control stream.
    pub(super) fn receive(&mut self) {
        let Some(stream) = self.streams.iter().position(|channel| channel.readable) else { return };
        let channel = &mut self.streams[stream];
        channel.readable = false;
        match channel.connection.read(&mut self.scratch) {
            Ok(0) if stream != CONTROL => channel.has_ended = true,
            Ok(0) => self.lose(None),
            Ok(length) => self.take(stream, length),
            Err(error) if error.kind() == ErrorKind::Interrupted => channel.readable = true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // The connection as a whole goes on, so the data stream had an error of its own.
                if let Some(text) = self.stream_error.take_if(|_| stream == CONTROL) {
                    self.lost = Some(ClientError::transient(text));
                }
            }
            Err(error) if stream != CONTROL => {
                channel.has_ended = true;
                let endpoint = self.opener.endpoint();
                self.stream_error = Some(format!("{endpoint} ended a data stream ({error})"));
                self.streams[CONTROL].readable = true;
            }
            Err(error) => self.lose(Some(&error)),
        }
    }

    /// Gives what was read to the session.
    fn take(&mut self, stream: usize, length: usize) {
        let bytes = &self.scratch[..length];
        if matches!(self.phase, LostIn::BeforeConnAck { .. })
            && let Some(what) = greeting_of_another_protocol(bytes)
        {
            let endpoint = self.opener.endpoint();
            let text = format!("{endpoint} sent what is not MQTT: {what}");
            self.lost = Some(ClientError::permanent(text));
            return;
        }
        self.session.handle_bytes(stream, bytes);
        self.streams[stream].readable = true;
    }
}
