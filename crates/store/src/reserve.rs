//! The reserve: a file without content that keeps room on the device. When the device is full, the
//! file is removed, and acknowledgements, checkpoints and compaction have room to make more. New
//! messages wait until the reserve is there again.

use std::io;

use crate::disk::Disk;

pub(crate) const NAME: &str = "reserve";

/// The reserve, present or missing.
#[derive(Debug)]
pub(crate) struct Reserve {
    bytes: u64,
    is_there: bool,
}

impl Reserve {
    /// Opens the reserve, or makes one of `bytes` bytes if there is room for it.
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

    /// Removes the reserve to make room; returns whether there was one.
    pub(crate) fn give_up(&mut self, disk: &dyn Disk) -> io::Result<bool> {
        if self.is_there {
            disk.remove(NAME)?;
        }
        Ok(std::mem::take(&mut self.is_there))
    }

    /// Makes the reserve again if it is missing and there is room for it.
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

/// Returns whether an error says that there is no room for this at present.
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
