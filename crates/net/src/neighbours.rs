//! Names, in the error of a listener that finds its address in use, the listener of this broker
//! that has it: a question about another broker would lead people astray.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;

use crate::listen::{Listen, ListenAddress};
use crate::listener::ListenerAddress;
use crate::listener_control::Entry;
use crate::listeners::ListenError;
use crate::unix::FileIdentity;

/// What to do about a neighbour, as the end of a sentence.
pub(crate) struct Advice {
    pub(crate) for_port: &'static str,
    pub(crate) for_path: &'static str,
}

impl Advice {
    /// For listeners that are to start together.
    pub(crate) const AT_START: Self = Self {
        for_port: "leave out the one or the other",
        for_path: "leave out the one or the other",
    };
    /// For a listener that is to be added to those that run.
    pub(crate) const AT_CHANGE: Self = Self {
        for_port: "remove that listener first, and then add this one",
        for_path: "write the path in that way",
    };
}

/// Adds to an error which of our `own` listeners, if any, has the address in use. The file of each
/// is given, if it is a Unix socket.
pub(crate) fn name_neighbour<'e>(
    error: ListenError,
    listen: &Listen,
    own: impl IntoIterator<Item = (&'e Entry, Option<FileIdentity>)>,
    advice: &Advice,
) -> ListenError {
    if !is_in_use(&error) {
        return error;
    }
    let ListenError::Bind(mut error) = error else { return error };
    let mut own = own.into_iter();
    let text = match &listen.address {
        ListenAddress::Network(asked) => {
            let neighbour = own.find(|(entry, _)| {
                let address = entry.address.network();
                let is_same_transport = entry.listen.is_quic() == listen.is_quic();
                is_same_transport && address.is_some_and(|address| may_collide(asked, address))
            });
            neighbour.map(|(entry, _)| text("port", &entry.address, advice.for_port))
        }
        ListenAddress::Unix(path) => {
            neighbour_at_path(path, own).map(|address| text("socket", address, advice.for_path))
        }
    };
    if let Some(text) = text {
        error.error = io::Error::new(io::ErrorKind::AddrInUse, text);
    }
    error.into()
}

pub(crate) fn is_in_use(error: &ListenError) -> bool {
    matches!(error, ListenError::Bind(it) if it.error.kind() == io::ErrorKind::AddrInUse)
}

fn neighbour_at_path<'e>(
    path: &Path,
    mut own: impl Iterator<Item = (&'e Entry, Option<FileIdentity>)>,
) -> Option<&'e ListenerAddress> {
    let file = FileIdentity::at(path)?;
    own.find(|(_, own)| *own == Some(file)).map(|(entry, _)| &entry.address)
}

fn text(what: &str, address: &ListenerAddress, advice: &str) -> String {
    format!("the {what} is in use by this broker itself, which listens on {address}; {advice}")
}

/// Whether `IP:PORT` or `NAME:PORT` cannot be bound beside `own`.
fn may_collide(asked: &str, own: SocketAddr) -> bool {
    let Ok(mut asked) = asked.to_socket_addrs() else { return false };
    asked.any(|asked| addresses_collide(&asked, &own))
}

/// Returns whether two addresses cannot be bound at the same time: they are equal, or one includes
/// the other (0.0.0.0 is every IPv4 address, `[::]` every address). Port 0 is a different free port
/// each time.
pub fn addresses_collide(one: &SocketAddr, other: &SocketAddr) -> bool {
    let is_same_port = one.port() != 0 && one.port() == other.port();
    is_same_port && (includes(one, other) || includes(other, one))
}

fn includes(this: &SocketAddr, other: &SocketAddr) -> bool {
    let is_everything = this.ip().is_unspecified() && (this.is_ipv6() || other.is_ipv4());
    this.ip() == other.ip() || is_everything
}

#[cfg(test)]
mod tests {
    use super::may_collide;

    #[test]
    fn a_neighbour_has_the_same_address_or_one_that_includes_it() {
        let collide = |asked: &str, own: &str| may_collide(asked, own.parse().unwrap());
        assert!(collide("127.0.0.1:1883", "127.0.0.1:1883"));
        assert!(collide("localhost:1883", "0.0.0.0:1883"));
        assert!(collide("[::]:1883", "127.0.0.1:1883") && collide("127.0.0.1:1883", "[::]:1883"));
        assert!(collide("[::]:1883", "0.0.0.0:1883") && collide("0.0.0.0:1883", "[::]:1883"));
        assert!(!collide("[::1]:1883", "0.0.0.0:1883") && !collide("0.0.0.0:1883", "[::1]:1883"));
        assert!(!collide("127.0.0.1:1883", "127.0.0.1:1884"));
        assert!(!collide("127.0.0.1:1883", "192.0.2.1:1883"), "another program may have it");
    }
}
