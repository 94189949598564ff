//! The sample sheet: files of reads by sample, with nf-core's column names.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use invar_dataset::{
    DatasetError, input, object,
    sheet::{SAMPLE, Sheet},
};
use serde_json::Value;

use crate::{Error, Inputs, Pairing};

/// The file of a row, or of its first mates; any supported format.
const FIRST: [&str; 2] = ["fastq_1", "file"];
/// The file of its second mates.
const SECOND: [&str; 1] = ["fastq_2"];
/// What distinguishes rows of one sample.
const REPEATS: [&str; 2] = ["run", "lane"];

impl Inputs {
    /// The files that a sample sheet names, in the order of its rows; only the rows of `samples` if any are given. Its
    /// columns are `sample`, `fastq_1` (or `file`: also FASTA, BAM, CRAM) and, for pairs, `fastq_2`; every other one,
    /// and `sample`, becomes a column of the reads. Rows of one sample differ in `run` or `lane`.
    ///
    /// # Errors
    /// Everything that is wrong with its rows: a file that is missing or listed twice, a repeated sample, mates in some
    /// rows only, an empty cell. A table that cannot be read, or has no such sample.
    pub fn of_sheet(path: &Path, samples: &[String]) -> Result<Self, Error> {
        let mut sheet = Sheet::read(path, &[&[SAMPLE], &FIRST])?;
        let (mut files, mut columns, mut names) = (vec![], vec![], vec![]);
        let (mut row_of_file, mut row_of_sample) = (HashMap::new(), BTreeMap::new());
        let rows = sheet.rows_of(samples);
        if rows.is_empty() {
            sheet.bad("rows", "at least one", "none");
        }
        let is_paired = rows.iter().any(|row| sheet.value(row, &SECOND).is_some());
        let named = |row| [sheet.value(row, &FIRST), sheet.value(row, &SECOND)].into_iter().flatten();
        let named: Vec<_> = rows.iter().flat_map(named).map(|file| sheet.beside(file)).collect();
        object::look_at_all(named.iter().map(|path| path.as_path()));
        for row in &rows {
            let place = row.place();
            let sample = sheet.needed(row, &[SAMPLE], "the name of a sample").unwrap_or_default();
            let repeat = REPEATS.map(|name| sheet.value(row, &[name]));
            if let Some(other) = row_of_sample.insert((sample, repeat), row.line).filter(|_| !sample.is_empty()) {
                let expected = "each sample once, or another `run` or `lane` of it";
                sheet.bad(place.clone(), expected, format!("{sample:?} again, as in row {other}"));
            }
            let mut of_row = vec![sheet.needed(row, &FIRST, "a file in `fastq_1`")];
            if is_paired {
                of_row.push(sheet.needed(row, &SECOND, "a file in `fastq_2`, as in other rows"));
            }
            for file in of_row.into_iter().flatten() {
                let found = sheet.beside(file);
                if let Some(reason) = input::absence(&found).map_err(Error::io(&found))? {
                    sheet.bad(place.clone(), "a file", format!("{}, {reason}", input::shown(file, &found)));
                } else if let Some(other) = row_of_file.insert(input::place(&found), row.line) {
                    let again = format!("{} again, as in row {other}", input::shown(file, &found));
                    sheet.bad(place.clone(), "each file once", again);
                }
                files.push(found);
                names.push(sample);
                columns.push(sheet.others(row, &[&FIRST[..], &SECOND, &[SAMPLE]].concat()));
            }
        }
        sheet.make_numbers(&mut columns.iter_mut().collect::<Vec<_>>());
        // A name is a name, even if all of them are numbers.
        for (columns, name) in columns.iter_mut().zip(names) {
            columns.insert(SAMPLE.into(), Value::from(name));
        }
        sheet.finish().map_err(DatasetError::from)?;
        let pairing = if is_paired { Pairing::Files } else { Pairing::Flags };
        Ok(Self { files, pairing, reference: None, columns })
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use serde_json::json;

    use super::*;

    fn of(text: &str, samples: &[&str]) -> Result<Inputs, String> {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a1", "a2", "b1", "b2"] {
            fs::write(dir.path().join(name), "@r\nA\n+\nI\n").unwrap();
        }
        let path = dir.path().join("sheet.csv");
        fs::write(&path, text).unwrap();
        let samples: Vec<String> = samples.iter().map(|&sample| sample.into()).collect();
        let told = |error: Error| error.to_string().replace(&format!("{}/", dir.path().display()), "");
        let mut inputs = Inputs::of_sheet(&path, &samples).map_err(told)?;
        for file in &mut inputs.files {
            *file = file.strip_prefix(dir.path()).unwrap().into();
        }
        Ok(inputs)
    }

    #[test]
    fn rows_are_files_and_other_columns_are_kept() {
        let inputs = of("sample,fastq_1,fastq_2,Dose\n1,a1,a2,0.5\n2,b1,b2,\n", &[]).unwrap();
        assert_eq!(inputs.files, ["a1", "a2", "b1", "b2"].map(PathBuf::from));
        assert_eq!(inputs.pairing, Pairing::Files);
        assert_eq!(json!(inputs.columns[1]), json!({"sample": "1", "Dose": 0.5}));
        assert_eq!(json!(inputs.columns[2]), json!({"sample": "2", "Dose": null}));
        let one = of("Sample\tfile\tlane\nx\ta1\t1\nx\tb1\t2\ny\ta2\t1\n", &["x"]).unwrap();
        assert_eq!((one.files, one.pairing), (vec!["a1".into(), "b1".into()], Pairing::Flags));
    }

    #[test]
    fn every_bad_row_is_told_with_its_line() {
        let text = "sample,fastq_1,fastq_2\nx,a1,a2\nx,b1,none.fq\n,a1,b2\ny,b2,\nz,,\n";
        assert_eq!(
            of(text, &[]).unwrap_err(),
            "sheet.csv: 8 things are wrong:
  row 3: expected each sample once, or another `run` or `lane` of it, found \"x\" again, as in row 2
  row 3: expected a file, found none.fq, which is not there
  row 4: expected the name of a sample, found nothing
  row 4: expected each file once, found a1 again, as in row 2
  row 5: expected a file in `fastq_2`, as in other rows, found nothing
  row 5: expected each file once, found b2 again, as in row 4
  row 6: expected a file in `fastq_1`, found nothing
  row 6: expected a file in `fastq_2`, as in other rows, found nothing"
        );
        let header = of("name,fastq_1\nx,a1\n", &[]).unwrap_err();
        assert_eq!(header, "sheet.csv: header: expected a column `sample`, found name, fastq_1");
        let none = of("sample,fastq_1\nx,a1\ny,b1\n", &["w"]).unwrap_err();
        assert!(none.contains("column sample: expected \"w\" in a row, found x, y"), "{none}");
        assert!(of("sample,fastq_1\n", &[]).unwrap_err().contains("rows: expected at least one, found none"));
    }
}
