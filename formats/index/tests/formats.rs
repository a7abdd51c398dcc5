//! `docs/formats.md` against the code, and the bytes of the current format version against files that were written once.
//!
//! A change of layout makes the golden test fail. Then `FORMAT_VERSION` is raised, and a golden folder of the new version is written and
//! committed; a change that leaves the version alone must leave the files alone too. All names in here are made up.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use balcao_index::{
    Build, CLUSTER_FILE, CLUSTER_FIRST_ROWID, CLUSTER_TABLE, CpfShardWriter, FILTER_BITS, FOOTER_BYTES, FORMAT_VERSION,
    FileEntry, FilterColumns, FilterEntry, FilterValue, FilterWriter, Generation, HEADER_BYTES, IndexError, MAGIC,
    Manifest, NEAR_EDITS_MAX, NameShardWriter, Near, PAGE_BYTES, Part, Postings, RealFiles, RowidRange, ShardEntry,
    Source, SourceFile, WORD_INDEX_ROWS_MAX, WordCounter, WordIndexWriter, cpf_code, layout, verify,
};
use balcao_record::{BIRTH_BITS, BirthDay, Cpf, NAME_KEY_BYTES_MAX, NORMALIZATION_VERSION, SEX_BITS, Sex, words};
use xxhash_rust::xxh3::xxh3_64;

/// Set to `write`, the golden files are written anew instead of compared.
const GOLDEN_VARIABLE: &str = "BALCAO_GOLDEN";

/// What the golden files take at most together.
const GOLDEN_BYTES_MAX: u64 = 64 * 1024;

/// Generations are numbered from one.
const GENERATION: &str = "g000001";

// The page.

/// The rows `| NAME | value | …` of a Markdown page whose first cell is a constant's name.
fn constants_of(page: &str) -> BTreeMap<String, String> {
    let row = |line: &str| {
        let mut cells = line.strip_prefix('|')?.split('|').map(|cell| cell.trim().trim_matches('`').to_owned());
        let (name, value) = (cells.next()?, cells.next()?);
        let is_constant = name != "NAME" && name.len() > 1 && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
        is_constant.then(|| (name, value.replace(',', "")))
    };
    page.lines().filter_map(row).collect()
}

#[test]
fn the_page_states_the_constants() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/formats.md");
    let stated = constants_of(&fs::read_to_string(path).unwrap());
    let expected = [
        ("MAGIC", String::from_utf8(MAGIC.to_vec()).unwrap()),
        ("FORMAT_VERSION", FORMAT_VERSION.to_string()),
        ("NORMALIZATION_VERSION", NORMALIZATION_VERSION.to_string()),
        ("HEADER_BYTES", HEADER_BYTES.to_string()),
        ("PAGE_BYTES", PAGE_BYTES.to_string()),
        ("FOOTER_BYTES", FOOTER_BYTES.to_string()),
        ("CPF_BLOCK_KEYS", layout::CPF_BLOCK_KEYS.to_string()),
        ("NAME_BLOCK_NAMES", layout::NAME_BLOCK_NAMES.to_string()),
        ("NAME_BLOCK_BYTES", layout::NAME_BLOCK_BYTES.to_string()),
        ("WORDS_MAX", layout::WORDS_MAX.to_string()),
        ("WORD_BYTES_MAX", layout::WORD_BYTES_MAX.to_string()),
        ("WORD_INDEX_ROWS_MAX", WORD_INDEX_ROWS_MAX.to_string()),
        ("BLOCK_POSTINGS", layout::BLOCK_POSTINGS.to_string()),
        ("NEAR_EDITS_MAX", NEAR_EDITS_MAX.to_string()),
        ("SEX_BITS", SEX_BITS.to_string()),
        ("BIRTH_BITS", BIRTH_BITS.to_string()),
        ("FILTER_BITS", FILTER_BITS.to_string()),
        ("CLUSTER_FILE", CLUSTER_FILE.to_owned()),
        ("CLUSTER_TABLE", CLUSTER_TABLE.to_owned()),
        ("CLUSTER_FIRST_ROWID", CLUSTER_FIRST_ROWID.to_string()),
        ("NAME_KEY_BYTES_MAX", NAME_KEY_BYTES_MAX.to_string()),
    ];
    let expected: BTreeMap<_, _> = expected.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    assert_eq!(stated, expected, "docs/formats.md (left) and the code (right) differ");
}

// The golden generation.

/// A row with its keys.
struct Row {
    rowid: i64,
    cpf: Option<Cpf>,
    name: Option<String>,
}

/// A fixed table that meets every branch of the writers but the longest token codes: runs longer than a block, wrong check digits, rows
/// without one key, names of many rows, of many words and of many bytes, particles, letters beyond ASCII, dictionaries of more than 192
/// tokens, rowids that are negative and sparse. Where words are searched, also lists of several blocks, with neighbours and with gaps.
fn rows(searched: bool) -> Vec<Row> {
    let given = ["ABELINO", "BRUNELA", "CORALINO", "DAVINA", "EURIDES", "ØRSTEDA"];
    let family = ["AMOSTRA", "DA PROVA", "DO MODELO", "E TESTE", "DAS LINHAS"];
    let mut names: Vec<Option<String>> = Vec::new();
    for i in 0..250 {
        let (one, other) = (given[i % given.len()], given[(i + 1) % given.len()]);
        names.push(Some(format!("{one} W{i:03}")));
        names.push(Some(format!("{other} W{i:03} {}", family[i % family.len()])));
    }
    names.extend((0..40).map(|_| Some("CORALINO DO MODELO".to_owned())));
    names.extend([Some("CORALINO DO MODELO DA PROVA".to_owned()), Some("CORALINO DO MODELO DA PROVA".to_owned())]);
    let alphabet = "A B C D F G H I J K L M N O P Q R S";
    names.extend([Some(alphabet.to_owned()), Some(format!("{alphabet} T")), Some("DA DA PROVA".to_owned())]);
    names.extend([Some(format!("M{}", "A".repeat(5000))), Some("ØRSTEDA".to_owned()), None, None]);
    if searched {
        names.extend((0..300).map(|_| Some("DAVINA DA PROVA".to_owned())));
        names.extend((0..600).map(|i| Some(format!("Q{i:03}{}", if i % 3 == 0 { " ZETA" } else { "" }))));
    }
    let row = |(i, name): (usize, Option<String>)| {
        let base = (i as u32).wrapping_mul(2_654_435_761) % 1_000_000_000;
        let cpf = match i {
            _ if i % 3 == 0 => Cpf::from_base(0),
            _ if i % 25 == 4 => Cpf::parse(&format!("{base:09}00")).ok(),
            _ if i % 50 == 8 => None,
            _ => Cpf::from_base(base),
        };
        Row { rowid: (i * i * 7) as i64 - 1000, cpf, name }
    };
    names.into_iter().enumerate().map(row).collect()
}

/// The rows in two halves that share no key.
fn halves<K: Ord + Clone>(mut keys: Vec<(K, i64)>) -> [Vec<(K, i64)>; 2] {
    keys.sort_unstable();
    let middle = keys[keys.len() / 2].0.clone();
    let later = keys.split_off(keys.partition_point(|(key, _)| *key < middle));
    [keys, later]
}

/// The filter columns of the row with a name rank: sexes and days of all kinds, and none.
fn filter_value(rank: usize) -> FilterValue {
    let sex = Sex::from_code((rank % 37) as u8);
    let birth = BirthDay::from_days((rank as u32).wrapping_mul(2_654_435_761) >> 15);
    FilterValue { sex, birth }
}

/// The word index of names in the order of their ranks.
fn write_word_index(folder: &Path, names: &[(String, i64)]) -> FileEntry {
    let mut lists: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    for (rank, (name, _)) in (0..).zip(names) {
        for word in words(name) {
            lists.entry(word).or_default().insert(rank);
        }
    }
    let mut writer = WordIndexWriter::create_with(&RealFiles, folder).unwrap();
    for (word, ranks) in lists {
        writer.begin_word(word.as_bytes()).unwrap();
        ranks.into_iter().for_each(|rank| writer.push_run(rank, 1).unwrap());
    }
    writer.finish().unwrap()
}

/// The filter columns of shards with so many names.
fn write_filters(folder: &Path, counts: [usize; 2]) -> FilterEntry {
    let columns = FilterColumns { sex: Some("sexo".to_owned()), birth: Some("nasc".to_owned()) };
    let (mut rank, mut values) = (0, Vec::new());
    let files = (0..).zip(counts).map(|(shard, count)| {
        let mut writer = FilterWriter::create_with(&RealFiles, folder, shard, &columns).unwrap();
        for _ in 0..count {
            writer.push(filter_value(rank)).unwrap();
            values.push(filter_value(rank));
            rank += 1;
        }
        writer.finish().unwrap()
    });
    FilterEntry {
        files: files.collect(),
        sex_unreadable: values.iter().filter(|value| value.sex.is_none()).count() as u64,
        birth_unreadable: values.iter().filter(|value| value.birth.is_none()).count() as u64,
        sex_column: columns.sex.clone(),
        birth_column: columns.birth.clone(),
    }
}

/// Builds the golden generation in the folder `index`, through the public writers alone; `searched` ones have a word index and filter columns.
fn write_index(index: &Path, searched: bool) {
    let rows = rows(searched);
    let range = RowidRange {
        min: rows.iter().map(|row| row.rowid).min().unwrap(),
        max: rows.iter().map(|row| row.rowid).max().unwrap(),
    };
    let cpfs: Vec<_> = rows.iter().filter_map(|row| Some((cpf_code(row.cpf?), row.rowid))).collect();
    let names: Vec<_> = rows.iter().filter_map(|row| Some((row.name.clone()?, row.rowid))).collect();
    let build = Build::begin(index).unwrap();
    let folder = build.folder();

    let mut counter = WordCounter::new(1 << 20);
    let mut before = "";
    for name in names.iter().map(|(name, _)| name.as_str()).collect::<BTreeSet<_>>() {
        counter.count(before.as_bytes(), name.as_bytes());
        before = name;
    }
    let words = Arc::new(counter.into_words());
    assert!(words.len() > 192, "{} tokens have a code", words.len());
    let words_entry = words.write(&folder).unwrap();

    let mut anomalies = build.anomalies().unwrap();
    let mut counts = BTreeMap::new();
    let mut list = |rowid, kind: &str| {
        anomalies.push(rowid, kind).unwrap();
        *counts.entry(kind.to_owned()).or_insert(0) += 1;
    };
    for row in &rows {
        match row.cpf {
            None => list(row.rowid, "cpf_unreadable"),
            Some(cpf) if !cpf.has_right_check_digits() => list(row.rowid, "cpf_check_digits"),
            Some(_) => {}
        }
        if row.name.is_none() {
            list(row.rowid, "name_empty");
        }
    }
    let anomalies_file = anomalies.finish().unwrap();

    let (cpf_rows, name_rows) = (cpfs.len() as u64, names.len() as u64);
    let cpf = halves(cpfs).into_iter().zip(0..).map(|(rows, shard)| {
        let mut writer = CpfShardWriter::create(&folder, shard, range).unwrap();
        rows.iter().for_each(|&(code, rowid)| writer.push(code, rowid).unwrap());
        let (keys, rows) = writer.finish().unwrap();
        ShardEntry { keys, rows }
    });
    let halves_of_names = halves(names);
    let word_index = searched.then(|| write_word_index(&folder, &halves_of_names.concat()));
    let filters = searched.then(|| write_filters(&folder, [0, 1].map(|half| halves_of_names[half].len())));
    let names = halves_of_names.into_iter().zip(0..).map(|(rows, shard)| {
        let mut writer = NameShardWriter::create(&folder, shard, range, Arc::clone(&words)).unwrap();
        rows.iter().for_each(|(name, rowid)| writer.push(name.as_bytes(), *rowid).unwrap());
        let (keys, rows) = writer.finish().unwrap();
        ShardEntry { keys, rows }
    });
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        normalization_version: NORMALIZATION_VERSION,
        generation: build.name().to_owned(),
        former: None,
        built_at: 1_700_000_000,
        source: Source {
            table: "cpf".to_owned(),
            cpf_column: "cpf".to_owned(),
            name_column: "nome".to_owned(),
            file: SourceFile {
                bytes: 40_960,
                page_bytes: 4096,
                pages: 10,
                change_counter: 1,
                schema_cookie: 1,
                wal_modified_ns: None,
                sample: 0x0123_4567_89ab_cdef,
                // The golden files are older than this member, and are what is written without it.
                content: None,
            },
        },
        rows: rows.len() as u64,
        cpf_rows,
        name_rows,
        anomalies: counts,
        words: words_entry,
        cpf: cpf.collect(),
        names: names.collect(),
        anomalies_file,
        cluster: None,
        word_index,
        filters,
    };
    build.check(&manifest).unwrap();
    build.publish(&manifest).unwrap();
}

/// The golden index of this version; written anew first where the variable says so.
fn golden() -> &'static Path {
    static GOLDEN: OnceLock<PathBuf> = OnceLock::new();
    GOLDEN.get_or_init(|| golden_at(&format!("v{FORMAT_VERSION}"), false))
}

/// The same with a word index and filter columns.
fn golden_searched() -> &'static Path {
    static GOLDEN: OnceLock<PathBuf> = OnceLock::new();
    GOLDEN.get_or_init(|| golden_at(&format!("v{FORMAT_VERSION}-searched"), true))
}

fn golden_at(name: &str, searched: bool) -> PathBuf {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os(GOLDEN_VARIABLE).is_some_and(|value| value == "write") {
        let folder = tempfile::tempdir().unwrap();
        write_index(folder.path(), searched);
        let _ = fs::remove_dir_all(&golden);
        fs::create_dir_all(golden.join(GENERATION)).unwrap();
        files(folder.path()).iter().for_each(|(name, bytes)| fs::write(golden.join(name), bytes).unwrap());
    }
    golden
}

/// Every file of an index but its lock, by its name inside the index.
fn files(index: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::from([("CURRENT".to_owned(), fs::read(index.join("CURRENT")).unwrap_or_default())]);
    for entry in fs::read_dir(index.join(GENERATION)).into_iter().flatten() {
        let entry = entry.unwrap();
        let name = format!("{GENERATION}/{}", entry.file_name().to_str().unwrap());
        files.insert(name, fs::read(entry.path()).unwrap());
    }
    files
}

#[test]
fn the_writers_write_the_golden_files() {
    check_golden(golden(), false);
    check_golden(golden_searched(), true);
}

fn check_golden(golden: &Path, searched: bool) {
    let folder = tempfile::tempdir().unwrap();
    write_index(folder.path(), searched);
    let written = files(folder.path());
    let golden = files(golden);
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    let advice = format!(
        "the layout of version {FORMAT_VERSION} is fixed: undo the change, or raise FORMAT_VERSION and write the new \
         version's files with {GOLDEN_VARIABLE}=write"
    );
    assert_eq!(names(&written), names(&golden), "{advice}");
    for (name, bytes) in &written {
        let at = bytes.iter().zip(&golden[name]).position(|(a, b)| a != b);
        let same = at.is_none() && bytes.len() == golden[name].len();
        assert!(same, "{name} differs from byte {}; {advice}", at.unwrap_or(bytes.len().min(golden[name].len())));
    }
    let total: u64 = golden.values().map(|bytes| bytes.len() as u64).sum();
    assert!(total < GOLDEN_BYTES_MAX, "the golden files take {total} bytes");
}

/// The rowids of a run of ranks.
fn rowids(generation: &Generation, part: Part, ranks: std::ops::Range<u64>) -> Vec<i64> {
    ranks.map(|rank| generation.rowid(part, rank).unwrap()).collect()
}

#[test]
fn the_golden_generation_answers() {
    let generation = Generation::open_current(golden()).unwrap();
    assert_eq!(generation.manifest().generation, GENERATION);
    assert_eq!(generation.manifest().source.file.content, None);
    let verified = verify(&generation).unwrap();
    assert_eq!((verified.files, verified.cpf_rows, verified.name_rows, verified.distinct_names), (10, 541, 547, 507));

    // Known answers, written down by hand.
    let by_cpf = |text: &str| {
        let ranks = generation.cpf_ranks(Cpf::parse(text).unwrap()).unwrap();
        rowids(&generation, Part::Cpf, ranks)
    };
    let by_name = |name: &str| rowids(&generation, Part::Name, generation.name_ranks(name).unwrap());
    let by_prefix = |prefix: &str| rowids(&generation, Part::Name, generation.prefix_ranks(prefix).unwrap());
    assert_eq!(by_cpf("000.000.000-00").len(), 183);
    assert_eq!(by_cpf("000.000.000-00")[..3], [-1000, -937, -748]);
    assert!(by_cpf("529.982.247-25").is_empty());
    assert_eq!(by_name("ABELINO W000"), [-1000]);
    assert!(by_name("ABELINO W00").is_empty());
    assert_eq!(by_name("CORALINO DO MODELO").len(), 40);
    assert_eq!(by_name("DA DA PROVA"), [7 * 544 * 544 - 1000]);
    assert_eq!(by_prefix("CORALINO DO MODELO DA").len(), 2);
    assert_eq!(by_prefix("CORALINO DO MODELO").len(), 42);
    assert_eq!(by_prefix("Ø").len(), 83);
    assert!(by_prefix("ZZ").is_empty());

    // And every key, as a plain scan finds it.
    let rows = rows(false);
    for row in &rows {
        if let Some(cpf) = row.cpf {
            let expected: Vec<_> = rows.iter().filter(|row| row.cpf == Some(cpf)).map(|row| row.rowid).collect();
            assert_eq!(rowids(&generation, Part::Cpf, generation.cpf_ranks(cpf).unwrap()), expected);
        }
        if let Some(name) = &row.name {
            let same = |other: &&Row| other.name.as_ref() == Some(name);
            let expected: Vec<_> = rows.iter().filter(same).map(|row| row.rowid).collect();
            assert_eq!(by_name(name), expected, "{name:.40}");
        }
    }
}

#[test]
fn the_golden_word_index_answers() {
    let without = Generation::open_current(golden()).unwrap();
    assert!(without.word_index().is_none() && without.filters().is_none());
    let generation = Generation::open_current(golden_searched()).unwrap();
    let verified = verify(&generation).unwrap();
    assert_eq!((verified.files, verified.words, verified.postings, verified.filter_rows), (13, 886, 3321, 1447));
    let index = generation.word_index().unwrap();
    let ranks = |list: Postings<'_>| {
        let (mut cursor, mut ranks, mut next) = (list.cursor(), Vec::new(), 0);
        while let Some(rank) = cursor.seek(next).unwrap() {
            ranks.push(rank);
            next = rank + 1;
        }
        ranks
    };
    // Known answers, written down by hand: names by their order, and words by theirs.
    let word = |word: &str| index.word(word.as_bytes()).unwrap().map(ranks);
    assert_eq!(word("ABELINO").map(|ranks| ranks.len()), Some(83));
    assert_eq!(word("DO").map(|ranks| ranks.len()), Some(92));
    assert_eq!(word("ABELIN"), None);
    let visited = |visit: &dyn Fn(&mut Vec<String>)| {
        let mut found = Vec::new();
        visit(&mut found);
        found
    };
    let told = |found: &mut Vec<String>, word: &[u8]| {
        found.push(String::from_utf8(word.to_vec()).unwrap());
        ControlFlow::Continue(())
    };
    let prefixed = visited(&|found| index.prefixed(b"CO", |word, _| told(found, word)).unwrap());
    assert_eq!(prefixed, ["CORALINO"]);
    let near = visited(&|found| index.near(&Near::new("AMSOTAR", 2, false), |word, _, _| told(found, word)).unwrap());
    assert_eq!(near, ["AMOSTRA"]);
    let spelled = visited(&|found| index.spelled(b"EURIDES", false, |word, _| told(found, word)).unwrap());
    assert_eq!(spelled, ["EURIDES"]);

    // And every word, and every column, as a plain scan finds them.
    let mut names: Vec<_> = rows(true).into_iter().filter_map(|row| Some((row.name?, row.rowid))).collect();
    names.sort();
    let all: BTreeSet<&str> = names.iter().flat_map(|(name, _)| words(name)).collect();
    for &asked in &all {
        let has = |name: &str| words(name).any(|word| word == asked);
        let expected: Vec<u32> = (0..).zip(&names).filter(|(_, (name, _))| has(name)).map(|(rank, _)| rank).collect();
        assert_eq!(word(asked), Some(expected), "{asked:.40}");
    }
    assert_eq!(all.len() as u64, index.words());
    let filters = generation.filters().unwrap();
    assert_eq!(filters.columns().birth.as_deref(), Some("nasc"));
    for rank in 0..names.len() {
        assert_eq!(filters.get(rank as u64).unwrap(), filter_value(rank));
    }
    assert!(filters.get(names.len() as u64).is_err());
}

// Other versions.

/// Opens a copy of the golden generation in which one file's bytes were changed.
#[track_caller]
fn open_with(name: &str, change: impl FnOnce(&mut Vec<u8>)) -> IndexError {
    let folder = tempfile::tempdir().unwrap();
    let mut copied = files(golden());
    change(copied.get_mut(&format!("{GENERATION}/{name}")).unwrap());
    fs::create_dir(folder.path().join(GENERATION)).unwrap();
    copied.iter().for_each(|(name, bytes)| fs::write(folder.path().join(name), bytes).unwrap());
    Generation::open_current(folder.path()).unwrap_err()
}

/// A manifest's text with a checksum that holds.
fn manifest_text(line: &str) -> Vec<u8> {
    format!("{line}\nxxh3 {:016x}\n", xxh3_64(format!("{line}\n").as_bytes())).into_bytes()
}

#[track_caller]
fn check_refused(error: &IndexError, what: &str, got: u32) {
    let expected = format!("{what} {got}, this program reads {}; rebuild the index", got - 1);
    assert!(matches!(error, IndexError::Version { .. }) && error.to_string().contains(&expected), "{error}");
}

#[test]
fn a_later_version_is_refused_by_its_name() {
    let later = FORMAT_VERSION + 1;
    let forged = |from: String, to: String| {
        open_with("MANIFEST", |bytes| {
            let text = String::from_utf8(std::mem::take(bytes)).unwrap();
            let line = text.lines().next().unwrap();
            assert!(line.contains(&from));
            *bytes = manifest_text(&line.replace(&from, &to));
        })
    };
    let version = |number: u32| format!("\"format_version\":{number}");
    check_refused(&forged(version(FORMAT_VERSION), version(later)), "format version", later);
    let version = |number: u32| format!("\"normalization_version\":{number}");
    let refused = forged(version(NORMALIZATION_VERSION), version(NORMALIZATION_VERSION + 1));
    check_refused(&refused, "normalisation version", NORMALIZATION_VERSION + 1);
    // A later manifest may have other members: its version is read all the same.
    let other = format!("{{\"format_version\":{later},\"normalization_version\":{NORMALIZATION_VERSION},\"new\":[]}}");
    check_refused(&open_with("MANIFEST", |bytes| *bytes = manifest_text(&other)), "format version", later);
    // A single file of a later version among those of this one.
    for name in ["words.dict", "cpf-0001.keys", "name-0000.rows"] {
        let error = open_with(name, |bytes| bytes[MAGIC.len()..][..4].copy_from_slice(&later.to_le_bytes()));
        check_refused(&error, "format version", later);
    }
}

#[test]
fn a_forged_manifest_needs_its_checksum() {
    let error = open_with("MANIFEST", |bytes| {
        let at = bytes.windows(6).position(|six| six == b"\"rows\"").unwrap();
        bytes[at + 7] ^= 1;
    });
    assert!(matches!(error, IndexError::Damaged { .. }), "{error}");
}
