//! What a broker says when it has started: where it is, what it works with, what to do next.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use crate::config::printable;

/// The lines that a broker starts with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StartMessage<'m> {
    pub(crate) addresses: &'m [SocketAddr],
    /// The configuration file.
    pub(crate) file: Option<&'m Path>,
    /// Nobody named the file; it was at one of the usual places.
    pub(crate) is_found: bool,
    /// The data directory; `None`: nothing is kept on disk.
    pub(crate) data: Option<&'m Path>,
    /// `None`: one for each processor.
    pub(crate) workers: Option<usize>,
    pub(crate) processors: usize,
}

impl fmt::Display for StartMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = env!("CARGO_PKG_VERSION");
        writeln!(f, "Midge {version}, a broker for MQTT 3.1, 3.1.1 and 5.0")?;
        let addresses: Vec<_> = self.addresses.iter().map(SocketAddr::to_string).collect();
        writeln!(f, "  listens on     {}", addresses.join(", "))?;
        if self.addresses.iter().all(|address| address.ip().is_loopback()) {
            let open = "--listen 0.0.0.0:1883";
            writeln!(f, "                 only this machine can connect; for others too: {open}")?;
        } else {
            let open = "whoever reaches it can connect: it asks for no name or password yet";
            writeln!(f, "                 {open}")?;
        }
        writeln!(f, "  configuration  {}", self.configuration())?;
        match self.data {
            Some(data) => {
                writeln!(f, "  data           {}", printable(&data.display().to_string()))?;
            }
            None => writeln!(f, "  data           in memory: it is gone when the broker ends")?,
        }
        match self.workers {
            Some(workers) => writeln!(f, "  workers        {workers}")?,
            None => writeln!(f, "  workers        {}, one for each processor", self.processors)?,
        }
        writeln!(f, "  documentation  midge --help, midge config reference, docs/")
    }
}

impl StartMessage<'_> {
    fn configuration(&self) -> String {
        match self.file {
            Some(file) => {
                let found = if self.is_found { " (found there; nobody named it)" } else { "" };
                format!("{}{found}", printable(&file.display().to_string()))
            }
            None => "the defaults, without a file".to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::StartMessage;

    #[test]
    fn a_newcomer_learns_where_everything_is() {
        let addresses = ["127.0.0.1:1883".parse().unwrap(), "[::1]:1883".parse().unwrap()];
        let message = StartMessage {
            addresses: &addresses,
            file: None,
            is_found: false,
            data: None,
            workers: None,
            processors: 4,
        };
        assert_eq!(
            message.to_string(),
            format!(
                "Midge {}, a broker for MQTT 3.1, 3.1.1 and 5.0\n\
                 \x20 listens on     127.0.0.1:1883, [::1]:1883\n\
                 \x20                only this machine can connect; for others too: \
                 --listen 0.0.0.0:1883\n\
                 \x20 configuration  the defaults, without a file\n\
                 \x20 data           in memory: it is gone when the broker ends\n\
                 \x20 workers        4, one for each processor\n\
                 \x20 documentation  midge --help, midge config reference, docs/\n",
                env!("CARGO_PKG_VERSION")
            )
        );
    }

    #[test]
    fn an_operator_learns_what_is_open_and_which_file_was_read() {
        let addresses = ["0.0.0.0:1883".parse().unwrap(), "[::1]:1883".parse().unwrap()];
        let file = Some(Path::new("midge.toml"));
        let message = StartMessage {
            addresses: &addresses,
            file,
            is_found: true,
            data: Some(Path::new("/var/lib/midge")),
            workers: Some(2),
            processors: 4,
        };
        let text = message.to_string();
        assert!(text.contains("it asks for no name or password yet"), "{text}");
        assert!(text.contains("midge.toml (found there; nobody named it)"), "{text}");
        assert!(text.contains("  data           /var/lib/midge\n"), "{text}");
        assert!(text.contains("  workers        2\n"), "{text}");
    }
}
