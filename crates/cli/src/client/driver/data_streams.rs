//! The data streams of a Client: how they are opened, and how they end before the connection does.

use std::io::ErrorKind;
use std::time::Instant;

use midge_core::counted;

use super::channel::Channel;
use super::{CLOSE_TIMEOUT, Driver};
use crate::client::error::ClientError;

impl Driver {
    /// Opens a data stream beside the connection, which must have been accepted; returns its
    /// number.
    pub(crate) fn open_data_stream(&mut self) -> Result<usize, ClientError> {
        let endpoint = self.opener.endpoint();
        let number = self.streams.len();
        let Some(control) = self.streams.first_mut() else {
            return Err(ClientError::transient(format!("there is no connection to {endpoint}")));
        };
        let opened = control.connection.open_data_stream(&self.sources.poller, number);
        let stream = opened.map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => ClientError::Refused(format!(
                "{endpoint} takes no more than {} at a time",
                counted(number - 1, "data stream")
            )),
            _ => ClientError::transient(format!("cannot open a data stream: {error}")),
        })?;
        self.streams.push(Channel::new(stream));
        Ok(self.session.open_stream())
    }

    /// Waits until the broker has read everything on the data streams: otherwise a DISCONNECT on
    /// the control stream could overtake it.
    pub(super) fn finish_data_streams(&mut self) {
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        let is_open = |channel: &Channel| !channel.has_ended;
        while self.session.is_connected()
            && self.lost.is_none()
            && self.streams.iter().skip(1).any(is_open)
            && Instant::now() < deadline
        {
            self.transmit();
            (1..self.streams.len()).for_each(|stream| self.finish_sending(stream));
            if self.is_readable() {
                self.receive();
            } else if self.poll(Some(deadline), Instant::now()).is_err() {
                return;
            }
        }
    }

    /// Says on a stream that nothing more will come, if everything has been sent.
    pub(super) fn finish_sending(&mut self, stream: usize) {
        let Some(channel) = self.streams.get_mut(stream) else { return };
        let is_sent = self.session.outbound(stream).is_empty() && channel.connection.is_flushed();
        if is_sent && !channel.is_finished {
            channel.is_finished = true;
            channel.connection.finish_sending();
        }
    }
}
