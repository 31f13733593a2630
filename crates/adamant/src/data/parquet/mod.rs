//! Parquet tables of encoded pictures, as Hugging Face data sets come.
//!
//! A picture is read by passing over the pages before it and decompressing its own; readers that are on their way
//! through a row group are kept for the next rows, so that reading in order costs each page once. What is in memory is a
//! page or two for each of a few readers, never a row group. Begin with [`Tables::open`].

mod columns;
mod table;

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use parquet::basic::Type;
use parquet::data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type};
use parquet::file::metadata::{
    ColumnChunkMetaData, ParquetMetaDataOptions, ParquetMetaDataReader, ParquetStatisticsPolicy,
};
use rayon::prelude::*;

use super::dataset::{Dataset, Part};
use super::error::DataError;
use super::framing::Framing;
use super::part_files;
use super::pictures::{Pictures, Stored};
use table::{Cursor, decoded};

/// Readers kept on their way through a row group: as many as threads that read in order, and few enough that their
/// pages, commonly a MiB each, cost nothing that matters.
const CURSORS: usize = 16;

/// Labels decoded at a time: a header's claim of rows sizes nothing.
const LABELS: usize = 1 << 16;

/// The pictures of some tables.
pub struct Tables {
    files: Vec<PathBuf>,
    groups: Vec<Group>,
    /// For each row group, how many rows it and all before it have.
    ends: Vec<usize>,
    cursors: Mutex<Vec<(usize, Cursor<ByteArrayType>)>>,
}

/// One row group: where its columns lie.
struct Group {
    file: usize,
    rows: usize,
    picture: ColumnChunkMetaData,
    path: Option<ColumnChunkMetaData>,
}

/// One part of a source of tables.
#[derive(Debug)]
pub struct OpenTables {
    /// Its pictures.
    pub tables: Tables,
    /// Their labels.
    pub labels: Vec<u32>,
    /// What the classes are called.
    pub class_names: Vec<String>,
    /// Which part it is.
    pub part: Part,
}

/// Reads one part of a source of tables.
///
/// Errors: as [`Tables::open`] and [`Dataset::of_pictures`].
pub fn load(path: &Path, name: &str, part: Part, framing: Framing) -> Result<Dataset, DataError> {
    let OpenTables { tables, labels, class_names, part } = Tables::open(path, part)?;
    Dataset::of_pictures(name, part, class_names, labels, Arc::new(tables), framing)
}

impl Tables {
    /// Opens one part of a folder of `.parquet` files; a single file or a pattern is one whole.
    ///
    /// Classes have the names of the `ClassLabel` feature, else those of `classes.txt`, else numbers.
    /// Errors: `Layout`, `Parquet`, `WrongLabel`, `Io`; of the first file in order that has one.
    pub fn open(path: &Path, part: Part) -> Result<OpenTables, DataError> {
        let found = part_files::find(path, "parquet")?;
        let (chosen, part) = found.of(part);
        if chosen.is_empty() {
            return Err(part_files::no_part(path, &found, "parquet"));
        }
        let opened = open_all(chosen)?;
        let names = opened.iter().find_map(|file| file.names.clone());
        let mut largest = None;
        let others = if names.is_none() { open_all(&found.others(chosen))? } else { Vec::new() };
        for file in opened.iter().chain(&others) {
            largest = file.labels.iter().map(|&label| label.max(0)).max().max(largest);
        }
        let class_names = match names {
            Some(names) => names,
            None => {
                let largest = largest.map(|label| u32::try_from(label).unwrap_or(u32::MAX));
                part_files::class_names(&found.folder, largest)?
            }
        };
        let (mut groups, mut ends, mut labels) = (Vec::new(), Vec::new(), Vec::new());
        for (position, (file, path)) in opened.into_iter().zip(chosen).enumerate() {
            for (row, label) in file.labels.into_iter().enumerate() {
                let known = u32::try_from(label).ok().filter(|&l| (l as usize) < class_names.len());
                labels.push(known.ok_or_else(|| DataError::WrongLabel {
                    origin: format!("{}: label of row {row}", path.display()),
                    found: label.to_string(),
                    expected: format!("0 to {}", class_names.len().saturating_sub(1)),
                })?);
            }
            for group in file.groups {
                ends.push(ends.last().copied().unwrap_or(0) + group.rows);
                groups.push(Group { file: position, ..group });
            }
        }
        let tables = Self { files: chosen.to_vec(), groups, ends, cursors: Mutex::new(Vec::new()) };
        Ok(OpenTables { tables, labels, class_names, part })
    }

    /// The row group a picture is in, and its row there.
    fn place(&self, index: usize) -> (usize, usize) {
        let group = self.ends.partition_point(|&end| end <= index);
        (group, index - group.checked_sub(1).map_or(0, |before| self.ends[before]))
    }

    /// A reader of the group that has not passed the row yet, the nearest; a new one where there is none.
    fn cursor(&self, group: usize, row: usize) -> Result<Cursor<ByteArrayType>, DataError> {
        let mut cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        let nearest = cursors
            .iter()
            .enumerate()
            .filter(|(_, (of, cursor))| *of == group && cursor.next() <= row)
            .max_by_key(|(_, (_, cursor))| cursor.next())
            .map(|(position, _)| position);
        if let Some(position) = nearest {
            return Ok(cursors.remove(position).1);
        }
        drop(cursors);
        let Group { file, rows, picture, .. } = &self.groups[group];
        Cursor::open(&self.files[*file], picture, *rows)
    }

    fn keep(&self, group: usize, cursor: Cursor<ByteArrayType>) {
        if cursor.next() == self.groups[group].rows {
            return;
        }
        let mut cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        if cursors.len() == CURSORS {
            cursors.remove(0);
        }
        cursors.push((group, cursor));
    }

    fn written_path(&self, index: usize) -> Option<String> {
        let (group, row) = self.place(index);
        let Group { file, rows, path, .. } = &self.groups[group];
        let (path, chunk) = (&self.files[*file], path.as_ref()?);
        let mut value = Vec::new();
        let mut cursor = Cursor::<ByteArrayType>::open(path, chunk, *rows).ok()?;
        cursor.read(path, chunk, row, 1, &mut value).ok()?;
        Some(value.first()?.as_utf8().ok()?.to_owned())
    }
}

impl Pictures for Tables {
    fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    fn read(&self, index: usize, into: &mut Vec<u8>) -> Result<Stored, DataError> {
        let (group, row) = self.place(index);
        let Group { file, picture, .. } = &self.groups[group];
        let mut cursor = self.cursor(group, row)?;
        let mut value: Vec<ByteArray> = Vec::with_capacity(1);
        cursor.read(&self.files[*file], picture, row, 1, &mut value)?;
        into.clear();
        value.iter().for_each(|bytes| into.extend_from_slice(bytes.data()));
        self.keep(group, cursor);
        Ok(Stored::File)
    }

    fn name(&self, index: usize) -> PathBuf {
        let (group, row) = self.place(index);
        let file = self.groups[group].file;
        let before: usize =
            self.groups[..group].iter().filter(|g| g.file == file).map(|g| g.rows).sum();
        let mut name = format!("row {}", before + row);
        if let Some(path) = self.written_path(index) {
            name += &format!(" ({path})");
        }
        self.files[file].join(name)
    }

    fn block(&self, index: usize) -> u32 {
        self.place(index).0 as u32
    }
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tables({} files, {} rows)", self.files.len(), self.len())
    }
}

struct OpenFile {
    groups: Vec<Group>,
    labels: Vec<i64>,
    names: Option<Vec<String>>,
}

fn open_all(files: &[PathBuf]) -> Result<Vec<OpenFile>, DataError> {
    let results: Vec<Result<OpenFile, DataError>> =
        files.par_iter().map(|file| open_file(file)).collect();
    // The first error in the order of the files, whichever thread met one first.
    results.into_iter().collect()
}

fn open_file(path: &Path) -> Result<OpenFile, DataError> {
    let footer = || "footer".to_owned();
    let broken =
        |reason: String| DataError::Parquet { path: path.to_owned(), place: footer(), reason };
    let file =
        File::open(path).map_err(|source| DataError::Io { path: path.to_owned(), source })?;
    // Smallest and largest values may be whole pictures.
    let options = ParquetMetaDataOptions::new()
        .with_column_stats_policy(ParquetStatisticsPolicy::SkipAll)
        .with_encoding_stats_policy(ParquetStatisticsPolicy::SkipAll);
    let metadata = decoded(path, footer, || {
        ParquetMetaDataReader::new().with_metadata_options(Some(options)).parse_and_finish(&file)
    })?;
    let about = metadata.file_metadata();
    let features = about.key_value_metadata().into_iter().flatten();
    let features =
        features.filter(|entry| entry.key == "huggingface").find_map(|e| e.value.as_deref());
    let columns = columns::find(about.schema_descr(), features).map_err(|found| {
        broken(format!("{found}; expected one of pictures, such as image.bytes"))
    })?;
    let label = columns.label.ok_or_else(|| {
        broken("no column of whole numbers such as label, expected one".to_owned())
    })?;
    let (mut groups, mut labels) = (Vec::new(), Vec::new());
    for group in metadata.row_groups() {
        let rows = usize::try_from(group.num_rows())
            .ok()
            .filter(|&rows| rows <= u32::MAX as usize)
            .ok_or_else(|| broken(format!("a row group of {} rows", group.num_rows())))?;
        let column = |position: usize| {
            let found = || broken(format!("a row group of {} columns", group.num_columns()));
            group.columns().get(position).ok_or_else(found)
        };
        read_labels(path, column(label)?, rows, &mut labels)?;
        let picture = column(columns.picture)?.clone();
        let path = columns.path.map(|path| column(path).cloned()).transpose()?;
        groups.push(Group { file: 0, rows, picture, path });
    }
    Ok(OpenFile { groups, labels, names: columns.names })
}

fn read_labels(
    path: &Path,
    chunk: &ColumnChunkMetaData,
    rows: usize,
    labels: &mut Vec<i64>,
) -> Result<(), DataError> {
    let starts = (0..rows).step_by(LABELS).map(|start| (start, LABELS.min(rows - start)));
    if chunk.column_type() == Type::INT32 {
        let mut cursor = Cursor::<Int32Type>::open(path, chunk, rows)?;
        for (start, count) in starts {
            let mut values = Vec::new();
            cursor.read(path, chunk, start, count, &mut values)?;
            labels.extend(values.into_iter().map(i64::from));
        }
        return Ok(());
    }
    let mut cursor = Cursor::<Int64Type>::open(path, chunk, rows)?;
    for (start, count) in starts {
        cursor.read(path, chunk, start, count, labels)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
    }

    fn picture(name: &str) -> Vec<u8> {
        fs::read(folder("pictures").join(name)).unwrap()
    }

    fn expected(index: usize) -> Vec<u8> {
        picture(["grey.jpg", "grey.png"][index % 2])
    }

    #[test]
    fn g31_rows_give_the_very_bytes_in_any_order_and_from_any_writer() {
        for name in ["train-00000-of-00001.parquet", "plain.parquet"] {
            let open = Tables::open(&folder("parquet").join(name), Part::Train).unwrap();
            assert_eq!((open.part, open.tables.len()), (Part::Whole, 24));
            assert_eq!(open.labels, (0..24).map(|i| (2 * i) % 3).collect::<Vec<u32>>());
            let mut bytes = vec![1, 2, 3];
            for index in (0..24).chain((0..24).rev()).chain([5, 17, 5, 6, 23, 0, 9, 10]) {
                assert_eq!(open.tables.read(index, &mut bytes).unwrap(), Stored::File);
                assert_eq!(bytes, expected(index), "{name} {index}");
            }
            let shown = open.tables.name(11).display().to_string();
            assert!(shown.ends_with(&format!("{name}/row 11 (11-grey.png)")), "{shown}");
        }
    }

    #[test]
    fn classes_have_the_names_of_the_feature_else_numbers() {
        let tables = tempfile::tempdir().unwrap();
        for name in ["train-00000-of-00001.parquet", "test-00000-of-00001.parquet"] {
            fs::copy(folder("parquet").join(name), tables.path().join(name)).unwrap();
        }
        let open = Tables::open(tables.path(), Part::Test).unwrap();
        assert_eq!(open.class_names, ["cat", "dog", "yak"]);
        assert_eq!((open.part, open.labels), (Part::Test, vec![0, 2, 1, 0, 2]));
        let plain = Tables::open(&folder("parquet/plain.parquet"), Part::Test).unwrap();
        assert_eq!(plain.class_names, ["0", "1", "2"]);
    }

    #[test]
    fn g31_threads_that_read_at_once_do_not_disturb_each_other() {
        let open = Tables::open(&folder("parquet/plain.parquet"), Part::Train).unwrap();
        (0..4_usize).into_par_iter().for_each(|thread| {
            let mut bytes = Vec::new();
            for step in 0..48 {
                let index = (step * (2 * thread + 1) + 5 * thread) % 24;
                open.tables.read(index, &mut bytes).unwrap();
                assert_eq!(bytes, expected(index));
            }
        });
    }

    #[test]
    fn g31_a_table_cut_short_or_damaged_is_an_error_that_names_it() {
        let whole = fs::read(folder("parquet/plain.parquet")).unwrap();
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("cut.parquet");
        for length in (0..whole.len()).step_by(997) {
            fs::write(&path, &whole[..length]).unwrap();
            let error = Tables::open(&path, Part::Train).unwrap_err();
            assert!(matches!(error, DataError::Parquet { .. }), "{length}: {error}");
            assert!(error.to_string().contains("cut.parquet: footer: "), "{error}");
        }
        // Every byte of the first picture's page header, and some within the page.
        let mut bytes = Vec::new();
        for position in (4..40).chain((40..4000).step_by(131)) {
            let mut damaged = whole.clone();
            damaged[position] ^= 0x55;
            fs::write(&path, &damaged).unwrap();
            let Ok(open) = Tables::open(&path, Part::Train) else { continue };
            for index in 0..9 {
                if let Err(error) = open.tables.read(index, &mut bytes) {
                    assert!(error.to_string().contains("column \"img.bytes\""), "{error}");
                }
            }
        }
    }
}
