//! Why a connection could not be made, and what the user can do about it.
//!
//! The layers of a stream say in words what happened; this module says what to do, in terms of the
//! commands' arguments and URLs.

use std::io::{self, ErrorKind};

use super::{Endpoint, Scheme};

/// A connection that could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What happened and what to do: two sentences or more, the last one without its full stop.
    pub(crate) text: String,
    /// Whether trying again may help.
    pub(crate) is_transient: bool,
}

impl Endpoint {
    /// Explains an error that came before anything was received. `host_error` says why the host has
    /// no address.
    pub(crate) fn cannot_connect(
        &self,
        error: &io::Error,
        host_error: Option<&io::Error>,
    ) -> Failure {
        if let Some(error) = host_error {
            let host = &self.host;
            let text = format!("cannot find the host '{host}': {error}. Check the name");
            return Failure { text, is_transient: true };
        }
        let (reason, advice, is_transient) = match error.kind() {
            ErrorKind::InvalidData | ErrorKind::InvalidInput => self.layer_failed(error),
            _ if self.scheme == Scheme::Unix => self.socket_failed(error),
            ErrorKind::ConnectionRefused => (
                "connection refused".to_owned(),
                "Is a broker running there? Start one with: midge".to_owned(),
                true,
            ),
            ErrorKind::TimedOut if self.scheme == Scheme::Quic => (
                "no answer".to_owned(),
                "Check that a broker listens for QUIC there (UDP), and that no firewall is in \
                 between"
                    .to_owned(),
                true,
            ),
            ErrorKind::TimedOut => (
                "no answer".to_owned(),
                "Check the address, and that no firewall is in between".to_owned(),
                true,
            ),
            _ => (error.to_string(), "Check the host and the port".to_owned(), true),
        };
        // The other side's text may end in a full stop of its own.
        let reason = reason.trim_end_matches('.');
        let advice = if advice.is_empty() { advice } else { format!(". {advice}") };
        Failure { text: format!("cannot connect to {self}: {reason}{advice}"), is_transient }
    }

    /// Explains that the other side closed or broke the connection in the middle of a handshake.
    pub(crate) fn ended_in_handshake(&self) -> Failure {
        let question = match self.scheme {
            Scheme::Mqtts => "Does it speak TLS there? A port without TLS is mqtt://",
            Scheme::Ws => "Is it a port for WebSocket? One for MQTT over plain TCP is mqtt://",
            Scheme::Wss => "Is it a port for WebSocket over TLS? One without TLS is ws://",
            _ => "Is it an MQTT broker?",
        };
        let text = format!(
            "{self} closed the connection in the middle of its handshake. {question}. \
                 Or it has no room for more connections now"
        );
        Failure { text, is_transient: true }
    }

    fn socket_failed(&self, error: &io::Error) -> (String, String, bool) {
        let (reason, advice) = match error.kind() {
            ErrorKind::NotFound => (
                "there is no such socket",
                format!("Does a broker listen with bind = \"unix:{}\"?", self.host),
            ),
            ErrorKind::ConnectionRefused => {
                ("nobody answers", "Is a broker running there?".to_owned())
            }
            ErrorKind::PermissionDenied => (
                "not permitted",
                "The socket's owner, group and mode say who may connect".to_owned(),
            ),
            _ => return (error.to_string(), "Check the path".to_owned(), true),
        };
        (reason.to_owned(), advice, true)
    }

    /// Explains why TLS or WebSocket failed. Only a different call will help, so this is never
    /// transient.
    fn layer_failed(&self, error: &io::Error) -> (String, String, bool) {
        let reason = error.to_string();
        let has = |part: &str| reason.contains(part);
        let is_foreign = has("not of an authority that is trusted") || has("not signed by whom");
        let advice = if is_foreign {
            self.authority_advice()
        } else if has("is for another name") {
            let host = &self.host;
            format!("It has to name '{host}': connect under a name that it has")
        } else if has("is that of an authority") {
            "To trust this very certificate, name its file: --cafile FILE".to_owned()
        } else if has("has expired") || has("not valid yet") {
            "Check the certificate's dates, and the clock of this machine".to_owned()
        } else if has("requires a certificate") {
            "Show one with --cert FILE and --key FILE".to_owned()
        } else if has("TLS alert") && self.tls.certificate.is_some() {
            "Check the certificate of --cert; the broker's log says what is wrong with it"
                .to_owned()
        } else if has("does not speak TLS") {
            let plain = if self.scheme == Scheme::Wss { "ws" } else { "mqtt" };
            format!("For a port without TLS write {plain}://")
        } else if self.scheme.is_websocket() && has("404") {
            let path = &self.path;
            format!("Check the path of the URL, {path}; that of Midge is {}", super::WEBSOCKET_PATH)
        } else if self.scheme.is_websocket() && has("WebSocket") {
            "Is it a port for WebSocket, and the path of the URL right? One for MQTT over plain \
             TCP is mqtt://"
                .to_owned()
        } else {
            String::new()
        };
        (reason, advice, false)
    }

    fn authority_advice(&self) -> String {
        match &self.tls.ca {
            Some(file) => format!(
                "The authority has to be in {}, the file of --cafile, and is not",
                file.display()
            ),
            None => "Name the file with its authority's certificate: --cafile FILE (or, for a \
                     test, verify nothing: --insecure)"
                .to_owned(),
        }
    }
}

/// Recognizes another protocol by its first bytes, where MQTT was expected.
pub(crate) fn greeting_of_another_protocol(bytes: &[u8]) -> Option<&'static str> {
    // A TLS record with an alert: a TLS server's answer to anything that is not a handshake.
    if bytes.starts_with(&[0x15, 0x03]) {
        return Some("it speaks TLS. Write mqtts:// for the URL, or add --cafile FILE");
    }
    if bytes.starts_with(b"HTTP/") {
        return Some("it speaks HTTP. Is it a port for WebSocket? Then write ws:// for the URL");
    }
    None
}
