//! The directory with an authority's files, and how they are written.
//!
//! A file is written under another name and then renamed, so that a broker that watches it never
//! reads half of it. Only the owner can read a key, from its first byte on.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use x509_cert::Certificate;
use x509_cert::crl::CertificateList;
use x509_cert::der::DecodePem;

use super::issue::{Authority, Pair};
use super::{CertsError, FIRST_CLIENT};

const LIST: &str = "crl.pem";
const MODE_OF_CERTIFICATES: u32 = 0o644;
const MODE_OF_KEYS: u32 = 0o600;

/// A directory that exists.
pub(super) struct Directory(PathBuf);

impl Directory {
    /// Opens the directory, and makes it if it does not exist.
    pub(super) fn open(path: &Path) -> Result<Self, CertsError> {
        fs::create_dir_all(path).map_err(|error| {
            CertsError::new(format!("cannot make the directory {}: {error}", path.display()))
        })?;
        Ok(Self(path.to_path_buf()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Gives the name of a client's files, without the dot and what follows it.
    pub(super) fn client_stem(name: &str) -> String {
        if name == FIRST_CLIENT { name.to_owned() } else { format!("client-{name}") }
    }

    /// Reads the authority, if one was made here before.
    pub(super) fn authority(&self) -> Result<Option<Authority>, CertsError> {
        let at = self.0.display();
        match (self.read("ca.pem")?, self.read("ca.key")?) {
            (Some(certificate), Some(key)) => {
                let authority = Authority::from_pem(&certificate, &key).map_err(|reason| {
                    CertsError::new(format!(
                        "ca.pem and ca.key in {at} {reason}; take another --directory, or remove \
                         both for a new authority"
                    ))
                })?;
                Ok(Some(authority))
            }
            (None, None) => Ok(None),
            (has_certificate, _) => {
                let (there, missing) = match has_certificate {
                    Some(_) => ("ca.pem", "ca.key"),
                    None => ("ca.key", "ca.pem"),
                };
                Err(CertsError::new(format!(
                    "{at} has {there} but no {missing}; take another --directory, or remove \
                     {there} for a new authority"
                )))
            }
        }
    }

    /// Refuses to write over the files of a server or of clients.
    pub(super) fn check_free(&self, server: bool, clients: &[String]) -> Result<(), CertsError> {
        let clients = clients.iter().map(|name| Self::client_stem(name));
        for stem in server.then(|| "server".to_owned()).into_iter().chain(clients) {
            for name in [format!("{stem}.pem"), format!("{stem}.key")] {
                let path = self.0.join(name);
                if fs::symlink_metadata(&path).is_ok() {
                    return Err(CertsError::new(format!(
                        "{} is there already; add --force to make it anew, or --client NAME for \
                         one more client",
                        path.display()
                    )));
                }
            }
        }
        Ok(())
    }

    /// Writes a certificate and its key.
    pub(super) fn write(&self, stem: &str, pair: &Pair) -> Result<(), CertsError> {
        self.replace(&format!("{stem}.key"), &pair.key, MODE_OF_KEYS)?;
        self.replace(&format!("{stem}.pem"), &pair.certificate, MODE_OF_CERTIFICATES)
    }

    /// Writes the list of revoked certificates.
    pub(super) fn write_list(&self, list: &str) -> Result<(), CertsError> {
        self.replace(LIST, list, MODE_OF_CERTIFICATES)
    }

    /// Reads the serial number of a client's certificate.
    pub(super) fn client_serial(&self, name: &str) -> Result<Vec<u8>, CertsError> {
        let file = format!("{}.pem", Self::client_stem(name));
        let path = self.0.join(&file);
        let Some(pem) = self.read(&file)? else {
            return Err(CertsError::new(format!(
                "there is no certificate of the client '{name}': {} does not exist",
                path.display()
            )));
        };
        let certificate = Certificate::from_pem(pem).map_err(|error| {
            CertsError::new(format!("{} is not a certificate in PEM: {error}", path.display()))
        })?;
        Ok(certificate.tbs_certificate().serial_number().as_bytes().to_vec())
    }

    /// Reads the serial numbers on the list, and when they were put on it, in seconds since 1970.
    pub(super) fn revoked(&self) -> Result<Vec<(Vec<u8>, u64)>, CertsError> {
        let Some(pem) = self.read(LIST)? else { return Ok(Vec::new()) };
        let list: CertificateList = CertificateList::from_pem(pem).map_err(|error| {
            let path = self.0.join(LIST);
            CertsError::new(format!(
                "{} is no list of revoked certificates in PEM ({error}); remove it for a new one",
                path.display()
            ))
        })?;
        let revoked = list.tbs_cert_list.revoked_certificates.unwrap_or_default().into_iter();
        let since = |at: x509_cert::time::Time| at.to_unix_duration().as_secs();
        Ok(revoked
            .map(|one| (one.serial_number.as_bytes().to_vec(), since(one.revocation_date)))
            .collect())
    }

    fn read(&self, name: &str) -> Result<Option<String>, CertsError> {
        let path = self.0.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(CertsError::new(format!("cannot read {}: {error}", path.display()))),
        }
    }

    fn replace(&self, name: &str, text: &str, mode: u32) -> Result<(), CertsError> {
        let path = self.0.join(name);
        let aside = self.0.join(format!(".{name}.{}", std::process::id()));
        let written = write_new(&aside, text, mode).and_then(|()| fs::rename(&aside, &path));
        written.map_err(|error| {
            let _ = fs::remove_file(&aside);
            CertsError::new(format!("cannot write {}: {error}", path.display()))
        })
    }
}

fn write_new(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
