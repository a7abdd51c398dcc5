//! `SmallDisk`: a small file system in memory, in a mount namespace of its own, so that nothing stays mounted whatever ends the test.
//!
//! Root makes the namespace as it is, others with a user namespace; where neither is allowed there is none.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tempfile::TempDir;

/// The file system lives as long as its keeper, a shell that waits for commands.
pub(crate) struct SmallDisk {
    keeper: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    path: PathBuf,
    /// Where it is mounted, as the keeper sees it.
    folder: TempDir,
}

impl SmallDisk {
    /// A file system of so many bytes; `None`, and a line that says so, where it is not allowed.
    pub(crate) fn new(bytes: u64) -> Option<Self> {
        let made = ["-m", "-rm"].iter().find_map(|namespaces| Self::with(namespaces, bytes));
        if made.is_none() {
            println!("no file system can be mounted here, neither by this user nor in a user namespace");
        }
        made
    }

    fn with(namespaces: &str, bytes: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut keeper = Command::new("unshare")
            .args([namespaces, "sh", "-c", r#"while read -r line; do eval "$line" >&2 && echo well || echo not; done"#])
            .env("DISK", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let (commands, answers) = (keeper.stdin.take()?, BufReader::new(keeper.stdout.take()?));
        // The folder as the keeper sees it: what is mounted on it is seen there only.
        let path = Path::new("/proc").join(keeper.id().to_string()).join("root");
        let path = path.join(folder.path().strip_prefix("/").ok()?);
        let mut disk = Self { keeper, commands, answers, path, folder };
        let mount = format!("mount -t tmpfs -o size={bytes},mode=700 none \"$DISK\"");
        (disk.run(&mount) && fs::read_dir(&disk.path).is_ok()).then_some(disk)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `indexer` where the file system is mounted: whether it ended well, and what it said. SQLite follows the link that leads there from
    /// outside as if it were any other, and so ends elsewhere: who has it write there runs inside.
    pub(crate) fn indexer(&mut self, args: &[&str]) -> (bool, String) {
        let said = tempfile::NamedTempFile::new().unwrap();
        let words = [env!("CARGO_BIN_EXE_indexer")].into_iter().chain(args.iter().copied());
        let line: Vec<_> = words.map(|word| format!("'{word}'")).collect();
        let well = self.run(&format!("{} > '{}' 2>&1", line.join(" "), said.path().display()));
        (well, fs::read_to_string(said.path()).unwrap())
    }

    /// The path of what has this path outside, where the file system is mounted.
    pub(crate) fn inside(&self, path: &str) -> String {
        let path = Path::new(path).strip_prefix(&self.path).unwrap();
        self.folder.path().join(path).into_os_string().into_string().unwrap()
    }

    /// Mounts it anew with these options. In a user namespace only those may be named, not all that the system tells of it.
    pub(crate) fn remount(&mut self, options: &str) {
        assert!(self.run(&format!("mount -t tmpfs -o remount,{options} none \"$DISK\"")), "{options}");
    }

    fn run(&mut self, command: &str) -> bool {
        let mut answer = String::new();
        let told = writeln!(self.commands, "{command}").and_then(|()| self.answers.read_line(&mut answer));
        told.is_ok() && answer == "well\n"
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// A file that takes the room of the others.
pub(crate) struct Ballast {
    file: fs::File,
    bytes: u64,
}

impl Ballast {
    pub(crate) const PAGE_BYTES: u64 = 4096;

    /// Fills the file system of `folder` to its last page.
    pub(crate) fn fill(folder: &Path) -> Self {
        let mut ballast = Self { file: fs::File::create(folder.join("ballast")).unwrap(), bytes: 0 };
        ballast.fill_again();
        ballast
    }

    /// Takes what room there is: how many bytes.
    pub(crate) fn fill_again(&mut self) -> u64 {
        let before = self.bytes;
        while self.file.write_all(&[1; Self::PAGE_BYTES as usize]).is_ok() {
            self.bytes += Self::PAGE_BYTES;
        }
        self.bytes - before
    }

    /// Leaves so much room.
    pub(crate) fn leave(&mut self, bytes: u64) {
        self.fill_again();
        self.bytes -= bytes;
        self.file.set_len(self.bytes).unwrap();
        std::io::Seek::seek(&mut self.file, std::io::SeekFrom::End(0)).unwrap();
    }
}
