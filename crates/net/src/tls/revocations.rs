//! Warnings about a listener's lists of revoked certificates: authorities without a list, whose
//! Clients are all refused, and lists that should have been renewed.

use std::path::PathBuf;

use x509_cert::Certificate;
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode;

use super::certificate::seconds;
use super::files::Files;

/// What lists and authorities say about themselves.
#[derive(Debug, Default)]
pub(super) struct Revocations {
    /// Authorities without a list, if there are lists at all.
    uncovered: Vec<String>,
    lists: Vec<List>,
}

#[derive(Debug)]
struct List {
    file: PathBuf,
    issuer: String,
    /// When the next list was to come, in seconds since 1970.
    next_update: Option<i64>,
}

impl Revocations {
    /// Reads what the files say. Leaves out lists that cannot be read: whether they can be used is
    /// decided elsewhere.
    pub(super) fn of(files: &Files) -> Self {
        let lists = files.revoked.iter().flat_map(|file| {
            let lists = file.lists().unwrap_or_default().into_iter();
            lists.filter_map(|der| list(file.path.clone(), &der))
        });
        let lists: Vec<_> = lists.collect();
        if lists.is_empty() {
            return Self::default();
        }
        let authorities = files.authorities.iter();
        let authorities = authorities.flat_map(|file| file.certificates().unwrap_or_default());
        let subjects = authorities.filter_map(|der| Certificate::from_der(&der).ok());
        let subjects = subjects.map(|it| it.tbs_certificate().subject().to_string());
        let is_uncovered = |subject: &String| !lists.iter().any(|list| list.issuer == *subject);
        Self { uncovered: subjects.filter(is_uncovered).collect(), lists }
    }

    /// Returns the warnings that are due at `now`, in seconds since 1970.
    pub(super) fn warnings(&self, now: i64) -> impl Iterator<Item = String> {
        let uncovered = self.uncovered.iter().map(|subject| {
            format!(
                "there is no list of revoked certificates of {subject}, so all its certificates \
                 are refused"
            )
        });
        let is_due = move |list: &&List| list.next_update.is_some_and(|due| due < now);
        let overdue = self.lists.iter().filter(is_due).map(|list| {
            let List { file, issuer, .. } = list;
            let file = file.display();
            format!("{file}: the list of {issuer} should have been renewed by now; it still counts")
        });
        uncovered.chain(overdue)
    }
}

fn list(file: PathBuf, der: &[u8]) -> Option<List> {
    let list: CertificateList = CertificateList::from_der(der).ok()?;
    let content = list.tbs_cert_list;
    let next_update = content.next_update.map(seconds);
    Some(List { file, issuer: content.issuer.to_string(), next_update })
}
