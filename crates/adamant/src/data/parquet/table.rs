//! One column of one row group, from any row on.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::serialized_reader::SerializedPageReader;

use super::super::error::DataError;

/// A reader of one column of one row group, and the row it gives next.
pub(super) struct Cursor<T: DataType> {
    reader: ColumnReaderImpl<T>,
    next: usize,
}

impl<T: DataType> Cursor<T> {
    /// Starts at row 0.
    ///
    /// Errors: `Io`, `Parquet`.
    pub fn open(path: &Path, chunk: &ColumnChunkMetaData, rows: usize) -> Result<Self, DataError> {
        // A file of its own: two readers over one would move each other's place.
        let file =
            File::open(path).map_err(|source| DataError::Io { path: path.to_owned(), source })?;
        let reader = shielded(path, chunk, 0, || {
            let pages = SerializedPageReader::new(Arc::new(file), chunk, rows, None)?;
            Ok(ColumnReaderImpl::new(chunk.column_descr_ptr(), Box::new(pages)))
        })?;
        Ok(Self { reader, next: 0 })
    }

    pub fn next(&self) -> usize {
        self.next
    }

    /// Appends the values of `count` rows from `row` on, which lies at or behind the next; rows before it are passed
    /// over, whole pages without being decompressed.
    ///
    /// Errors: `Parquet`, also for rows without a value.
    pub fn read(
        &mut self,
        path: &Path,
        chunk: &ColumnChunkMetaData,
        row: usize,
        count: usize,
        into: &mut Vec<T::T>,
    ) -> Result<(), DataError> {
        let (reader, next, before) = (&mut self.reader, self.next, into.len());
        shielded(path, chunk, row, || {
            let skipped = reader.skip_records(row - next)?;
            let mut levels = Vec::new();
            let mut rows = 0;
            while skipped == row - next && rows < count {
                let (read, ..) =
                    reader.read_records(count - rows, Some(&mut levels), None, into)?;
                if read == 0 {
                    break;
                }
                rows += read;
            }
            let values = into.len() - before;
            if values == count {
                return Ok(());
            }
            let found =
                if rows == count { "a row without a value" } else { "the end of the column" };
            Err(ParquetError::General(format!("{found} after {values} values, expected {count}")))
        })?;
        self.next = row + count;
        Ok(())
    }
}

/// Runs the parquet decoder, which panics where some damaged files contradict themselves: that is an error here.
pub(super) fn shielded<R>(
    path: &Path,
    chunk: &ColumnChunkMetaData,
    row: usize,
    decode: impl FnOnce() -> Result<R, ParquetError>,
) -> Result<R, DataError> {
    let place = || format!("column {}, row {row} of its group", chunk.column_path());
    decoded(path, place, decode)
}

/// As [`shielded`], for other parts of a file.
pub(super) fn decoded<R>(
    path: &Path,
    place: impl FnOnce() -> String,
    decode: impl FnOnce() -> Result<R, ParquetError>,
) -> Result<R, DataError> {
    let reason = match catch_unwind(AssertUnwindSafe(decode)) {
        Ok(Ok(decoded)) => return Ok(decoded),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the decoder gave up on contradictory data".to_owned(),
    };
    Err(DataError::Parquet { path: path.to_owned(), place: place(), reason })
}
