//! The manifest: what a generation holds, from what it was built, and length and checksum of each of its files.
//!
//! Two lines of text: the manifest as JSON, and `xxh3 ` with the checksum of the first line (its `\n` included) in hexadecimal.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use balcao_record::NORMALIZATION_VERSION;

use crate::cluster::ClusterEntry;
use crate::error::{IndexError, Result};
use crate::filters::FilterEntry;
use crate::source::Source;

/// The version of everything in a generation. Any change to a file's bytes raises it; there is no other version number.
pub const FORMAT_VERSION: u32 = 1;

/// The manifest's file.
pub(crate) const MANIFEST_FILE: &str = "MANIFEST";

/// The list of anomalies: a header line, then `rowid,kind`.
pub(crate) const ANOMALIES_FILE: &str = "anomalies.csv";

/// A manifest is small; what is larger is none.
const MANIFEST_BYTES_MAX: u64 = 16 << 20;

/// One file of a generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name inside the generation's folder.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// A sealed file's seal, which covers every byte through its page checksums; any other file's xxh3.
    #[serde(with = "hexadecimal")]
    pub checksum: u64,
}

/// The two files of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardEntry {
    /// Keys to ranks.
    pub keys: FileEntry,
    /// Ranks to rowids.
    pub rows: FileEntry,
}

/// What a generation holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// [`NORMALIZATION_VERSION`].
    pub normalization_version: u32,
    /// The generation's own name.
    pub generation: String,
    /// The generation that was current before; it is kept until the next build.
    pub former: Option<String>,
    /// When it was built, in seconds since 1970-01-01 UTC.
    pub built_at: u64,
    /// The database that it was built from.
    pub source: Source,
    /// Rows of the table.
    pub rows: u64,
    /// Rows with a CPF key.
    pub cpf_rows: u64,
    /// Rows with a name key.
    pub name_rows: u64,
    /// Anomalies by kind.
    pub anomalies: BTreeMap<String, u64>,
    /// The word dictionary.
    pub words: FileEntry,
    /// Shards of CPFs, by ascending codes.
    pub cpf: Vec<ShardEntry>,
    /// Shards of names, by ascending names.
    pub names: Vec<ShardEntry>,
    /// The list of anomalies.
    pub anomalies_file: FileEntry,
    /// The copy of the rows in the order of their names, where one was built. Readers of before there was this member pass over it, and fetch
    /// every row from the database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterEntry>,
    /// The word index, where one was built. Readers of before there was this member pass over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word_index: Option<FileEntry>,
    /// The filter columns, where some were built. Readers of before there was this member pass over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filters: Option<FilterEntry>,
}

impl Manifest {
    /// Every file that the manifest vouches for.
    pub fn files(&self) -> impl Iterator<Item = &FileEntry> {
        let shards = self.cpf.iter().chain(&self.names).flat_map(|shard| [&shard.keys, &shard.rows]);
        let filters = self.filters.iter().flat_map(|filters| &filters.files);
        let all = shards.chain([&self.words, &self.anomalies_file]).chain(&self.word_index).chain(filters);
        all.chain(self.cluster.as_ref().map(|cluster| &cluster.file))
    }

    /// Bytes of the index itself: all files but the copy of the rows.
    #[must_use]
    pub fn index_bytes(&self) -> u64 {
        let copy = self.cluster.as_ref().map_or(0, |cluster| cluster.file.bytes);
        self.files().map(|file| file.bytes).sum::<u64>() - copy
    }

    /// The manifest's text.
    pub(crate) fn to_text(&self) -> Result<String> {
        let json = serde_json::to_string(self)
            .map_err(|error| IndexError::io("write", MANIFEST_FILE)(std::io::Error::other(error)))?;
        Ok(with_checksum(&(json + "\n")))
    }

    /// Reads a generation's manifest: with it comes the generation's tag, a hash that no other generation has.
    pub(crate) fn read(folder: &Path) -> Result<(Self, u64)> {
        let path = folder.join(MANIFEST_FILE);
        let bytes = fs::metadata(&path).map_err(IndexError::io("open", MANIFEST_FILE))?.len();
        if bytes > MANIFEST_BYTES_MAX {
            return Err(IndexError::damaged(MANIFEST_FILE, MANIFEST_BYTES_MAX, format!("it has {bytes} bytes")));
        }
        let bytes = fs::read(&path).map_err(IndexError::io("read", MANIFEST_FILE))?;
        let text = str::from_utf8(&bytes)
            .map_err(|error| IndexError::damaged(MANIFEST_FILE, error.valid_up_to() as u64, "it is not UTF-8"))?;
        Self::parse(text).map(|manifest| (manifest, xxh3_64(text.as_bytes())))
    }

    fn parse(text: &str) -> Result<Self> {
        let end = text.find('\n').map_or(text.len(), |at| at + 1);
        if with_checksum(&text[..end]) != text {
            return Err(IndexError::damaged(MANIFEST_FILE, end as u64, "its checksum does not hold"));
        }
        let json = &text[..end];
        // The version first: a later version's manifest may have other members.
        let versions: Versions = from_json(json)?;
        versions.check()?;
        let manifest: Self = from_json(json)?;
        // A file outside the folder is none of the generation's, and a device would never end.
        if manifest.files().any(|file| !is_plain_name(&file.name)) {
            return Err(IndexError::damaged(MANIFEST_FILE, 0, "a file's name leads out of the folder"));
        }
        Ok(manifest)
    }
}

#[derive(Deserialize)]
struct Versions {
    format_version: u32,
    normalization_version: u32,
}

impl Versions {
    fn check(&self) -> Result<()> {
        for (what, expected, got) in [
            ("format version", FORMAT_VERSION, self.format_version),
            ("normalisation version", NORMALIZATION_VERSION, self.normalization_version),
        ] {
            if expected != got {
                let (file, expected, got) = (MANIFEST_FILE.to_owned(), expected.into(), got.into());
                return Err(IndexError::Version { file, what, expected, got });
            }
        }
        Ok(())
    }
}

/// Whether a name is that of a file right inside the folder.
fn is_plain_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == name)
}

fn from_json<T: for<'a> Deserialize<'a>>(json: &str) -> Result<T> {
    serde_json::from_str(json)
        .map_err(|error| IndexError::damaged(MANIFEST_FILE, error.column() as u64, error.to_string()))
}

fn with_checksum(line: &str) -> String {
    let checksum = xxh3_64(line.as_bytes());
    format!("{line}xxh3 {checksum:016x}\n")
}

/// A checksum as sixteen hexadecimal digits: JSON numbers lose the low bits in many readers.
pub(crate) mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{value:016x}"))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map_err(D::Error::custom)
    }

    /// A checksum that may be missing.
    pub(crate) mod optional {
        use serde::{Deserialize, Deserializer, Serializer};

        #[derive(Deserialize)]
        struct Checksum(#[serde(with = "super")] u64);

        #[expect(clippy::ref_option, reason = "serde calls it so")]
        pub(crate) fn serialize<S: Serializer>(value: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
            match value {
                Some(value) => super::serialize(value, serializer),
                None => serializer.serialize_none(),
            }
        }

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
            Ok(Option::<Checksum>::deserialize(deserializer)?.map(|checksum| checksum.0))
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn example() -> Manifest {
        let entry = |name: &str| FileEntry { name: name.to_owned(), bytes: 3, checksum: 0xffff_ffff_ffff_fff0 };
        Manifest {
            format_version: FORMAT_VERSION,
            normalization_version: NORMALIZATION_VERSION,
            generation: "g000002".to_owned(),
            former: Some("g000001".to_owned()),
            built_at: 1_700_000_000,
            source: Source::default(),
            rows: 3,
            cpf_rows: 2,
            name_rows: 1,
            anomalies: BTreeMap::from([("name_empty".to_owned(), 2)]),
            words: entry("words.dict"),
            cpf: vec![ShardEntry { keys: entry("a"), rows: entry("b") }],
            names: Vec::new(),
            anomalies_file: entry("anomalies.csv"),
            cluster: None,
            word_index: None,
            filters: None,
        }
    }

    #[test]
    fn reads_back_and_refuses_every_flipped_byte() {
        let text = example().to_text().unwrap();
        assert_eq!(Manifest::parse(&text).unwrap(), example());
        for at in 0..text.len() {
            let mut bad = text.clone().into_bytes();
            bad[at] ^= 1;
            assert!(Manifest::parse(&String::from_utf8(bad).unwrap()).is_err(), "byte {at}");
            assert!(Manifest::parse(&text[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn the_content_of_the_database_may_be_missing() {
        let mut manifest = example();
        let without = manifest.to_text().unwrap();
        assert!(!without.contains("content"), "{without}");
        assert_eq!(Manifest::parse(&without).unwrap().source.file.content, None);
        manifest.source.file.content = Some(0xfff0);
        let with = manifest.to_text().unwrap();
        assert!(with.contains(r#","content":"000000000000fff0"}"#), "{with}");
        assert_eq!(Manifest::parse(&with).unwrap(), manifest);
        // Present, and none: damaged.
        let line = with.lines().next().unwrap().replace("000000000000fff0", "here") + "\n";
        assert!(matches!(Manifest::parse(&with_checksum(&line)), Err(IndexError::Damaged { .. })));
    }

    #[test]
    fn the_copy_of_the_rows_may_be_missing() {
        let without = example();
        assert!(!without.to_text().unwrap().contains("cluster"));
        let file = FileEntry { name: "cluster.db".to_owned(), bytes: 5, checksum: 1 };
        let with = Manifest { cluster: Some(ClusterEntry { file, sample: 2 }), ..example() };
        let text = with.to_text().unwrap();
        let member =
            r#","cluster":{"name":"cluster.db","bytes":5,"checksum":"0000000000000001","sample":"0000000000000002"}}"#;
        assert!(text.contains(member), "{text}");
        assert_eq!(Manifest::parse(&text).unwrap(), with);
        assert_eq!(with.files().count(), without.files().count() + 1);
        assert_eq!(with.index_bytes(), without.index_bytes());
        let mut outside = with;
        outside.cluster.as_mut().unwrap().file.name = "../cluster.db".to_owned();
        assert!(matches!(Manifest::parse(&outside.to_text().unwrap()), Err(IndexError::Damaged { .. })));
    }

    #[test]
    fn a_file_outside_the_folder_is_refused() {
        for name in ["", ".", "..", "/dev/zero", "../g000001/words.dict", "a/b", "a/"] {
            let mut manifest = example();
            manifest.anomalies_file.name = name.to_owned();
            assert!(
                matches!(Manifest::parse(&manifest.to_text().unwrap()), Err(IndexError::Damaged { .. })),
                "{name:?}"
            );
        }
    }

    #[test]
    fn another_version_is_named() {
        let mut manifest = example();
        manifest.format_version = 9;
        let error = Manifest::parse(&manifest.to_text().unwrap()).unwrap_err();
        assert!(error.to_string().contains("format version 9, this program reads 1"), "{error}");
    }
}
