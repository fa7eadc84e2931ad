//! What `midge certs` says it has made: for a person, with what to do next, or for a program.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use midge_core::counted;
use serde_json::{Value, json};

use super::directory::Directory;
use super::issue::Host;

/// What was made. Times are seconds since 1970.
pub(super) struct Report {
    directory: PathBuf,
    is_new: bool,
    pub(super) authority_until: u64,
    pub(super) server: Option<(Vec<Host>, u64)>,
    pub(super) clients: Vec<(String, u64)>,
    /// The clients that were put on the list, and how many certificates are on it.
    pub(super) revoked: Option<(Vec<String>, usize)>,
}

impl Report {
    /// A report of nothing but an authority, which may be a new one.
    pub(super) fn new(directory: &Path, is_new: bool) -> Self {
        Self {
            directory: directory.to_path_buf(),
            is_new,
            authority_until: 0,
            server: None,
            clients: Vec::new(),
            revoked: None,
        }
    }

    /// The report as one JSON object.
    pub(super) fn to_json(&self) -> String {
        let server = self.server.as_ref().map(|(hosts, until)| {
            let hosts: Vec<_> = hosts.iter().map(ToString::to_string).collect();
            json!({
                "certificate": self.path("server.pem"),
                "key": self.path("server.key"),
                "hosts": hosts,
                "not_after": date_and_time(*until),
            })
        });
        let clients = self.clients.iter().map(|(name, until)| {
            let stem = Directory::client_stem(name);
            json!({
                "name": name,
                "certificate": self.path(&format!("{stem}.pem")),
                "key": self.path(&format!("{stem}.key")),
                "not_after": date_and_time(*until),
            })
        });
        let revocation_list = self.revoked.as_ref().map(|(names, count)| {
            json!({ "file": self.path("crl.pem"), "added": names, "certificates": count })
        });
        let object = json!({
            "authority": {
                "certificate": self.path("ca.pem"),
                "key": self.path("ca.key"),
                "is_new": self.is_new,
                "not_after": date_and_time(self.authority_until),
            },
            "server": server,
            "clients": clients.collect::<Vec<Value>>(),
            "revocation_list": revocation_list,
        });
        format!("{object:#}\n")
    }

    /// The report as text for a person: what was made, and what to copy.
    pub(super) fn to_text(&self) -> String {
        let mut text = self.made();
        if self.server.is_some() {
            text += &self.configuration();
        }
        if self.revoked.is_some() {
            let list = self.path("crl.pem");
            let _ = write!(text, "\nIn the tls of midge.toml:\n  client_crl = \"{list}\"\n");
        }
        if self.server.is_some() || !self.clients.is_empty() {
            text += &self.to_try();
        }
        text
    }

    fn made(&self) -> String {
        let mut rows = Vec::new();
        if self.is_new {
            let until = date(self.authority_until);
            rows.push(("ca".to_owned(), format!("an authority for trying things out, {until}")));
        }
        if let Some((hosts, until)) = &self.server {
            let hosts: Vec<_> = hosts.iter().map(ToString::to_string).collect();
            rows.push(("server".to_owned(), format!("for {}, {}", hosts.join(", "), date(*until))));
        }
        for (name, until) in &self.clients {
            let what = format!("for the client '{name}', {}", date(*until));
            rows.push((Directory::client_stem(name), what));
        }
        let rows = rows.into_iter().map(|(stem, what)| {
            let [certificate, key] = ["pem", "key"].map(|end| self.path(&format!("{stem}.{end}")));
            (format!("{certificate}, {key}"), what)
        });
        let mut rows: Vec<_> = rows.collect();
        if let Some((names, count)) = &self.revoked {
            let what = match count {
                1 => format!("revokes the certificate of {}", names.join(", ")),
                _ => {
                    let certificates = counted(*count, "certificate");
                    format!("revokes {certificates}, that of {} too", names.join(", "))
                }
            };
            rows.push((self.path("crl.pem"), what));
        }
        let width = rows.iter().map(|(files, _)| files.chars().count()).max().unwrap_or(0);
        rows.iter().map(|(files, what)| format!("{files:width$}  {what}\n")).collect()
    }

    fn configuration(&self) -> String {
        let [certificate, key, ca] = ["server.pem", "server.key", "ca.pem"].map(|f| self.path(f));
        format!(
            "\nIn midge.toml:\n  [[listener]]\n  bind = \"0.0.0.0:8883\"\n  \
             tls = {{ certificate = \"{certificate}\", key = \"{key}\" }}\n\
             For clients that must show a certificate, add to tls:\n  \
             client_ca = \"{ca}\"\n"
        )
    }

    fn to_try(&self) -> String {
        let ca = self.path("ca.pem");
        let command = format!("midge sub -L mqtts://localhost:8883/# --cafile {ca}");
        let mut text = format!("\nTo try it:\n  {command}\n");
        if let Some((name, _)) = self.clients.first() {
            let stem = Directory::client_stem(name);
            let [certificate, key] = ["pem", "key"].map(|end| self.path(&format!("{stem}.{end}")));
            let _ = writeln!(text, "  {command} --cert {certificate} --key {key}");
        }
        text
    }

    /// The path of a file as one would write it where this command was called.
    fn path(&self, name: &str) -> String {
        match self.directory.to_str() {
            Some(".") => name.to_owned(),
            _ => self.directory.join(name).display().to_string(),
        }
    }
}

fn timestamp(seconds: u64) -> jiff::Timestamp {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX)
}

fn date(until: u64) -> String {
    format!("good until {}", timestamp(until).strftime("%Y-%m-%d"))
}

fn date_and_time(at: u64) -> String {
    timestamp(at).to_string()
}
