//! Parquet files of another library, and ours for it: format/reference_tests.rs says how the two are compared.

use std::fs::File;

use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;

use super::parquet::writer;
use super::parquet_read::Rows;
use super::part::Compression;
use crate::format::reference_tests::{assert_same, expected, folder, is_recording, schema};

fn read(file: &str, rows_max: usize, offset: u64) -> RecordBatch {
    let path = folder().join(file);
    let mut rows = Rows::open(File::open(&path).unwrap(), &path, &schema(), rows_max, offset).unwrap();
    let mut parts = Vec::new();
    while let Some(part) = rows.next().unwrap() {
        parts.push(part);
    }
    concat_batches(&schema(), &parts).unwrap()
}

#[test]
fn files_of_pyarrow_are_read() {
    let rows = expected("rows.json", schema());
    for name in ["none", "snappy", "gzip", "zstd", "pages2", "other"] {
        let file = format!("{name}.parquet");
        assert_same(&file, &read(&file, 4_096, 0), &rows);
        // In small steps, from the middle of the second row group on.
        assert_same(&file, &read(&file, 2, 7), &rows.slice(7, 5));
    }
}

#[test]
fn a_file_that_is_cut_is_refused() {
    let whole = std::fs::read(folder().join("snappy.parquet")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.parquet");
    for length in [0, 3, 8, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = Rows::open(File::open(&path).unwrap(), &path, &schema(), 100, 0).err();
        let error = error.unwrap_or_else(|| panic!("{length} bytes are a file")).to_string();
        assert!(error.contains("cut.parquet is no whole parquet file"), "{error}");
    }
}

#[test]
fn our_files_are_those_that_pyarrow_has_read() {
    let rows = expected("rows.json", schema());
    for (name, compression) in [("snappy", Compression::None), ("zstd", Compression::Zstd)] {
        let file = format!("written/{name}.parquet");
        let path = tempfile::NamedTempFile::new().unwrap();
        let mut out = writer(path.reopen().unwrap(), &schema(), compression).unwrap();
        out.write(&rows).unwrap();
        out.close().unwrap();
        if is_recording() {
            std::fs::copy(path.path(), folder().join(&file)).unwrap();
        }
        let (now, then) = (std::fs::read(path.path()).unwrap(), std::fs::read(folder().join(&file)).unwrap());
        assert!(now == then, "{file} is not what is written now: see the top of format/reference_tests.rs");
        assert_same(&file, &read(&file, 4_096, 0), &rows);
    }
}
