//! Unix sockets that wait for connections: files with an owner and a mode.
//!
//! A socket is bound under a name of its own and gets its rights. When all listeners begin to
//! listen, the socket does, too, and only then gets the name that was asked for. So there is no
//! moment at which somebody can connect who must not, or at which the file is there and nobody
//! answers. A file in the way is replaced only if it is a socket that a broker has left behind.
//! This module must never remove a file that it did not make.

pub(crate) mod accounts;

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use mio::event::Source;
use mio::net::UnixStream;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use accounts::{group_number, user_number};

use crate::listen::UnixOptions;
use crate::peer::PeerAddress;

/// The default mode: the owner and the group may connect.
const MODE_DEFAULT: u32 = 0o660;

/// A bound Unix socket with its file.
#[derive(Debug)]
pub(crate) struct UnixListener {
    // The first field is dropped first: while the socket is open, no other file gets its file's
    // number.
    file: SocketFile,
    socket: mio::net::UnixListener,
    path: PathBuf,
    /// A socket at `path` that this one replaces.
    replaces: Option<FileIdentity>,
}

/// The file of a socket. It is removed when this is dropped, if it is still the same file.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: FileIdentity,
}

/// Identifies a file whatever its name: its device and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileIdentity(u64, u64);

impl UnixListener {
    /// Makes a socket that is to be at `path`, in the place of our own socket if that is there.
    /// Nobody finds it before it listens. The errors are texts for the author of the configuration.
    pub(crate) fn bind(
        path: &Path,
        options: &UnixOptions,
        replaces: Option<FileIdentity>,
    ) -> io::Result<Self> {
        let owner = options.owner.as_deref().map(user_number).transpose()?;
        let group = options.group.as_deref().map(group_number).transpose()?;
        check_way(path, replaces)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        let file = bind_aside(&socket, path)?;
        if owner.is_some() || group.is_some() {
            lchown(&file.path, owner, group).map_err(|error| cannot_give(options, &error))?;
        }
        // After the owner is set, because that clears some mode bits. Until now only the owner
        // could connect, and nobody answered.
        file.set_mode(options.mode.unwrap_or(MODE_DEFAULT))?;
        let socket = mio::net::UnixListener::from_std(socket.into());
        Ok(Self { file, socket, path: path.to_path_buf(), replaces })
    }

    /// Lets everybody connect from now on who may.
    pub(crate) fn listen(&mut self, backlog: i32) -> io::Result<()> {
        // Somebody else may have taken the path meanwhile.
        check_way(&self.path, self.replaces)?;
        SockRef::from(&self.socket).listen(backlog)?;
        self.file.rename_to(&self.path)
    }

    /// Returns the next connection that waits, and its peer. `WouldBlock`: there is none.
    pub(crate) fn accept(&self) -> io::Result<(UnixStream, PeerAddress)> {
        let (stream, _) = self.socket.accept()?;
        let peer = peer_of(&stream)?;
        Ok((stream, peer))
    }

    /// Returns which file the socket is.
    pub(crate) fn file(&self) -> FileIdentity {
        self.file.identity
    }

    /// Returns what a poller registers.
    pub(crate) fn source(&mut self) -> &mut dyn Source {
        &mut self.socket
    }
}

impl SocketFile {
    fn new(path: PathBuf) -> io::Result<Self> {
        let identity = identity(&fs::symlink_metadata(&path)?);
        Ok(Self { path, identity })
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        fs::set_permissions(&self.path, fs::Permissions::from_mode(mode))
    }

    fn rename_to(&mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        self.path = path.to_path_buf();
        Ok(())
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| identity(&metadata) == self.identity);
        if is_ours {
            // The file stays if we have lost access to the directory; the next start replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl FileIdentity {
    /// Returns which file is at `path`, if there is one.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        fs::symlink_metadata(path).ok().map(|metadata| identity(&metadata))
    }
}

fn identity(metadata: &Metadata) -> FileIdentity {
    FileIdentity(metadata.dev(), metadata.ino())
}

/// Checks that a socket may be made at `path`: nothing is there, or a socket that a broker has
/// left, or the one that it `replaces`.
fn check_way(path: &Path, replaces: Option<FileIdentity>) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(cannot_reach(path, &error)),
    };
    if !metadata.file_type().is_socket() {
        let text = "there is a file that is not a socket; remove it or take another path";
        return Err(io::Error::new(ErrorKind::AlreadyExists, text));
    }
    if replaces == Some(identity(&metadata)) {
        return Ok(());
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A socket whose backlog is full must not make us wait.
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path).map_err(|_| too_long(path))?) {
        Err(error)
            if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) =>
        {
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let text = "there is a socket of another user; remove it or take another path";
            Err(io::Error::new(ErrorKind::PermissionDenied, text))
        }
        _ => {
            let text = "the socket is in use; is another broker running there?";
            Err(io::Error::new(ErrorKind::AddrInUse, text))
        }
    }
}

/// Binds `socket` under a name of its own in the directory of `path`, accessible to the owner only.
fn bind_aside(socket: &Socket, path: &Path) -> io::Result<SocketFile> {
    // A crash at the wrong moment leaves such a name behind, and processes in other containers may
    // have our process number.
    const NAMES_MAX: u32 = 64;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    for number in 0..NAMES_MAX {
        let name = OsString::from(format!(".m{:x}-{number:x}", std::process::id()));
        let aside = directory.join(name);
        let longest = if aside.as_os_str().len() > path.as_os_str().len() { &aside } else { path };
        let address = SockAddr::unix(longest).and_then(|_| SockAddr::unix(&aside));
        match socket.bind(&address.map_err(|_| too_long(path))?) {
            Ok(()) => {
                let file = SocketFile::new(aside)?;
                file.set_mode(0o600)?;
                return Ok(file);
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            Err(error) => return Err(cannot_reach(path, &error)),
        }
    }
    let text = "no name is free for the new socket; remove the files .m* beside it";
    Err(io::Error::new(ErrorKind::AlreadyExists, text))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn peer_of(stream: &UnixStream) -> io::Result<PeerAddress> {
    use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

    let peer = getsockopt(&stream.as_fd(), PeerCredentials)?;
    // A process that this one cannot see (because it is outside the container) has no number.
    let process = Some(peer.pid()).filter(|process| *process > 0);
    Ok(PeerAddress::Process { user: peer.uid(), group: peer.gid(), process })
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn peer_of(stream: &UnixStream) -> io::Result<PeerAddress> {
    let (user, group) = nix::unistd::getpeereid(stream.as_fd())?;
    Ok(PeerAddress::Process { user: user.as_raw(), group: group.as_raw(), process: None })
}

fn cannot_give(options: &UnixOptions, error: &io::Error) -> io::Error {
    let whom = [("owner", &options.owner), ("group", &options.group)];
    let whom = whom.map(|(what, name)| name.as_ref().map(|name| format!("{what} '{name}'")));
    let whom: Vec<_> = whom.into_iter().flatten().collect();
    let whom = whom.join(" and ");
    let text = match error.kind() {
        ErrorKind::PermissionDenied => format!(
            "not permitted to give the socket to {whom}; only root gives files away, and others \
             only to groups that they are in"
        ),
        _ => format!("cannot give the socket to {whom}: {error}"),
    };
    io::Error::new(error.kind(), text)
}

fn cannot_reach(path: &Path, error: &io::Error) -> io::Error {
    let directory = path.parent().unwrap_or(path).display();
    let text = match error.kind() {
        ErrorKind::NotFound => format!("there is no directory '{directory}'; make it first"),
        ErrorKind::NotADirectory => format!("'{directory}' is not a directory"),
        ErrorKind::PermissionDenied => {
            format!("not permitted to make files in the directory '{directory}'")
        }
        ErrorKind::ReadOnlyFilesystem => format!("the directory '{directory}' is read-only"),
        _ => error.to_string(),
    };
    io::Error::new(error.kind(), text)
}

fn too_long(path: &Path) -> io::Error {
    let length = path.as_os_str().len();
    let text = format!(
        "the path is too long for a Unix socket: {length} bytes, and the operating system takes \
         about 100 (the directory and 12 more must fit); take a shorter one, as in /run"
    );
    io::Error::new(ErrorKind::InvalidInput, text)
}

#[cfg(test)]
mod tests;
