//! Chooses the certificate that a Client gets, by the name that it asks for (SNI).

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// A listener's certificates by their names.
#[derive(Debug)]
pub(super) struct Resolver {
    all: Vec<Arc<CertifiedKey>>,
    /// Indices into `all`, in its order. The keys of `by_wildcard` are without the first label.
    by_name: BTreeMap<String, Vec<usize>>,
    by_wildcard: BTreeMap<String, Vec<usize>>,
}

impl Resolver {
    /// Takes certificates with their names, at least one. The first one is for everybody who asks
    /// for no name, or for a name that none of them has.
    pub(super) fn new(certificates: Vec<(Arc<CertifiedKey>, Vec<String>)>) -> Self {
        let mut resolver =
            Self { all: Vec::new(), by_name: BTreeMap::new(), by_wildcard: BTreeMap::new() };
        for (certificate, names) in certificates {
            let index = resolver.all.len();
            resolver.all.push(certificate);
            for name in names {
                let name = name.to_ascii_lowercase();
                match name.strip_prefix("*.") {
                    Some(rest) => resolver.by_wildcard.entry(rest.to_string()),
                    None => resolver.by_name.entry(name),
                }
                .or_default()
                .push(index);
            }
        }
        resolver
    }

    /// Returns the best of the certificates whose keys `fits`; if there is none, the best of all.
    fn choose(
        &self,
        name: Option<&str>,
        fits: impl Fn(&CertifiedKey) -> bool,
    ) -> Option<Arc<CertifiedKey>> {
        let name = name.map(str::to_ascii_lowercase);
        let exact = name.as_ref().and_then(|name| self.by_name.get(name));
        let rest = name.as_ref().and_then(|name| name.split_once('.')).map(|(_, rest)| rest);
        let wildcard = rest.and_then(|rest| self.by_wildcard.get(rest));
        let named = exact.into_iter().chain(wildcard).flatten().map(|index| &self.all[*index]);
        let in_order = || named.clone().chain(&self.all);
        in_order().find(|certificate| fits(certificate)).or_else(|| in_order().next()).cloned()
    }
}

/// The resolver of one connection. It remembers the name that was asked for, which an unbuffered
/// connection does not tell.
#[derive(Debug)]
pub(super) struct SessionResolver {
    pub(super) resolver: Arc<Resolver>,
    pub(super) asked: Arc<OnceLock<String>>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        self.choose(hello.server_name(), |certificate| {
            certificate.key.choose_scheme(schemes).is_some()
        })
    }
}

impl ResolvesServerCert for SessionResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(name) = hello.server_name() {
            // A second ClientHello of the same connection must have the same name.
            let _ = self.asked.set(name.to_string());
        }
        self.resolver.resolve(hello)
    }
}
