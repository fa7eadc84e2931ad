//! Room on the device that nobody else can take: a file without content. When the device is full
//! it goes, and acknowledgements, checkpoints and compaction have room to make more. New messages
//! wait until it is there again.

use std::io;

use crate::disk::Disk;

pub(crate) const NAME: &str = "reserve";

/// The file, or that it is missing.
#[derive(Debug)]
pub(crate) struct Reserve {
    bytes: u64,
    is_there: bool,
}

impl Reserve {
    /// Makes sure of so many bytes, if there is room for them.
    pub(crate) fn open(disk: &dyn Disk, bytes: u64) -> io::Result<Self> {
        let mut reserve = Self { bytes, is_there: false };
        match disk.open(NAME) {
            Ok(file) if file.len()? == bytes => reserve.is_there = true,
            Ok(_) => disk.remove(NAME)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        reserve.refill(disk)?;
        Ok(reserve)
    }

    pub(crate) fn is_there(&self) -> bool {
        self.is_there
    }

    pub(crate) fn bytes_on_disk(&self) -> u64 {
        if self.is_there { self.bytes } else { 0 }
    }

    /// Makes room; returns whether there is more now.
    pub(crate) fn give_up(&mut self, disk: &dyn Disk) -> io::Result<bool> {
        if self.is_there {
            disk.remove(NAME)?;
        }
        Ok(std::mem::take(&mut self.is_there))
    }

    /// Takes the room again, if there is so much.
    pub(crate) fn refill(&mut self, disk: &dyn Disk) -> io::Result<()> {
        if self.is_there {
            return Ok(());
        }
        match disk.create(NAME).and_then(|file| file.allocate(self.bytes)) {
            Ok(()) => self.is_there = true,
            Err(error) if is_full(&error) => remove_if_there(disk)?,
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn remove_if_there(disk: &dyn Disk) -> io::Result<()> {
    match disk.remove(NAME) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether the device has no room left for this.
pub(crate) fn is_full(error: &io::Error) -> bool {
    crate::segment_files::is_full(error)
}

#[cfg(test)]
mod tests {
    use super::Reserve;
    use crate::testing::FaultyDisk;

    #[test]
    fn the_reserve_goes_and_comes_with_the_room() {
        let disk = FaultyDisk::new(1);
        disk.set_capacity(10_000);
        let mut reserve = Reserve::open(&disk, 8_000).unwrap();
        assert!(reserve.is_there() && disk.used() == 8_000);
        assert!(reserve.give_up(&disk).unwrap() && !reserve.give_up(&disk).unwrap());
        assert_eq!(disk.used(), 0);
        disk.overwrite("other", &[0; 5_000]);
        reserve.refill(&disk).unwrap();
        assert!(!reserve.is_there() && disk.used() == 5_000);
        disk.truncate("other", 100).unwrap();
        reserve.refill(&disk).unwrap();
        assert!(reserve.is_there());
        assert!(Reserve::open(&disk, 8_000).unwrap().is_there());
        assert!(Reserve::open(&disk, 9_000).unwrap().is_there());
    }
}
