//! Whether the certificate files that a configuration names can be used: what a broker would find
//! when it starts, told at the key that names them.

use midge_net::TlsServer;

use super::Loaded;
use super::problem::{Origin, Problem};

/// Everything that is wrong with the files of all listeners.
pub(super) fn problems(loaded: &Loaded) -> Vec<Problem> {
    let listeners = loaded.configuration.listeners.iter().enumerate();
    let problem = |(index, listener): (usize, &super::ListenerConfiguration)| {
        let error = TlsServer::load(listener.listen.tls.as_ref()?, &[]).err()?;
        Some(Problem::new(origin(loaded, index), error.to_string()))
    };
    listeners.filter_map(problem).collect()
}

/// Where the certificate of a listener is named.
fn origin(loaded: &Loaded, index: usize) -> Origin {
    let mut lines = loaded.effective.iter();
    let line = lines.find(|line| {
        line.section == "listener" && line.index == Some(index) && line.key == "tls.certificate"
    });
    line.map_or(Origin::Default, |line| line.origin.clone())
}
