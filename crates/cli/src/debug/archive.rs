//! A tar.gz archive that only its owner can read.

use std::{
    fs::{self, OpenOptions},
    io,
    path::Path,
};

use flate2::{Compression, write::GzEncoder};
use serverprotection_core::Timestamp;

use super::{File, not_written};
use crate::error::CliError;

/// Creates the file; fails if it exists.
///
/// # Errors
///
/// Fails if the file exists or the folder cannot be written.
pub(super) fn create(path: &Path) -> Result<fs::File, CliError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| not_written(path, &error))
}

/// Writes the files below a folder with the name of the archive. Removes the archive if that fails.
///
/// # Errors
///
/// Fails if the file cannot be written.
pub(super) fn write(file: fs::File, path: &Path, files: &[File], now: Timestamp) -> Result<(), CliError> {
    let written = write_all(file, files, now).map(drop);
    written.map_err(|error| {
        let _ = fs::remove_file(path);
        not_written(path, &error)
    })
}

/// Writes an archive.
///
/// # Errors
///
/// Fails if `to` does.
pub(super) fn write_all<W: io::Write>(to: W, files: &[File], now: Timestamp) -> io::Result<W> {
    let mut builder = tar::Builder::new(GzEncoder::new(to, Compression::default()));
    for File { name, content } in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(now.as_second()).unwrap_or_default());
        builder.append_data(
            &mut header,
            format!("serverprotection-debug/{name}"),
            content.as_bytes(),
        )?;
    }
    let mut to = builder.into_inner()?.finish()?;
    to.flush()?;
    Ok(to)
}
