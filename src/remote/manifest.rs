//! What a checkpoint in an object store is made of: a text, written behind all it names, so that one without it is half.
//!
//! Lines of words: a head with the version, the epoch, when it was complete, the state folder that it is from, then for each
//! file its SHA-256, bytes and name, and last the SHA-256 of all lines above, so that no byte can change unseen. Whoever has
//! the files can check them with tools at hand. It comes from save.rs, and fetch.rs reads it: bytes that nobody of ours wrote
//! are an error, and no name leads out of a folder.

use std::fmt::Write;

use millstream_engine::state::FILES_MAX;
use sha2::{Digest, Sha256};

/// What it is called in the folder of its checkpoint.
pub const NAME: &str = "manifest";
/// More is no manifest: a line is its name and some hundred bytes.
pub const BYTES_MAX: u64 = 4 << 20;
const HEAD: &str = "millstream-checkpoint 1";

/// See the module's page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub epoch: u64,
    /// In ms since 1970.
    pub completed_ms: i64,
    /// The state folder that it is from (owner.rs).
    pub owner: String,
    pub files: Vec<Entry>,
}

/// One of its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub sha256: String,
    pub bytes: u64,
    /// As in the state folder.
    pub name: String,
}

impl Manifest {
    /// Bytes of all files.
    pub fn num_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// As it is written.
    pub fn to_text(&self) -> String {
        let mut text = format!(
            "{HEAD}\nepoch {}\ncompleted-ms {}\nowner {}\n",
            self.epoch, self.completed_ms, self.owner
        );
        for Entry { sha256, bytes, name } in &self.files {
            let _ = writeln!(text, "file {sha256} {bytes} {name}");
        }
        let sum = hex(&Sha256::digest(&text));
        let _ = writeln!(text, "sum {sum}");
        text
    }

    /// Reads what was written, or says why not.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is no text".to_owned())?;
        let own = text.strip_suffix('\n').and_then(|text| text.rfind('\n')).ok_or("it is cut short")?;
        let (lines, sum) = text.split_at(own + 1);
        match lines.split_once('\n') {
            Some((HEAD, _)) => {}
            Some((head, _)) if head.starts_with("millstream-checkpoint ") => {
                return Err(format!(
                    "it is of a later version ({})",
                    head.chars().take(40).collect::<String>()
                ));
            }
            _ => return Err("it is no manifest of a checkpoint".into()),
        }
        if sum.trim_end() != format!("sum {}", hex(&Sha256::digest(lines))) {
            return Err("its checksum does not fit".into());
        }
        Self::parse(lines).ok_or_else(|| "its lines are not what they should be".into())
    }

    fn parse(lines: &str) -> Option<Self> {
        let mut lines = lines.lines().skip(1);
        let mut value = |key: &str| lines.next()?.strip_prefix(key)?.strip_prefix(' ');
        let (epoch, completed_ms) = (value("epoch")?.parse().ok()?, value("completed-ms")?.parse().ok()?);
        let owner = value("owner")?.to_owned();
        let entry = |line: &str| {
            let mut words = line.strip_prefix("file ")?.splitn(3, ' ');
            let (sha256, bytes, name) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
            let is_sum = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
            (is_sum && is_name(name)).then(|| Entry { sha256: sha256.into(), bytes, name: name.into() })
        };
        let files: Vec<Entry> = lines.map(entry).collect::<Option<_>>()?;
        (files.len() <= FILES_MAX).then_some(Self { epoch, completed_ms, owner, files })
    }
}

/// True for the name of a file in a state folder, or in a folder inside it, that can be one in a store.
pub fn is_name(name: &str) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    let is_part = |part: &&str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
    };
    parts.len() <= 2 && parts.iter().all(is_part) && name != NAME
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Manifest {
        let entry = |name: &str| Entry {
            sha256: hex(&Sha256::digest(name)),
            bytes: name.len() as u64,
            name: name.into(),
        };
        Manifest {
            epoch: 42,
            completed_ms: 1_767_225_600_000,
            owner: "0123456789abcdef".into(),
            files: vec![
                entry("checkpoint-00000000000000000042"),
                entry("journal-a%2Fb-0/journal-00000000000000000001"),
            ],
        }
    }

    #[test]
    fn what_was_written_is_read_and_no_byte_changes_unseen() {
        let text = example().to_text();
        assert_eq!(Manifest::read(text.as_bytes()).unwrap(), example());
        assert_eq!(example().num_bytes(), 31 + 44);
        let bytes = text.into_bytes();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                assert!(Manifest::read(&changed).is_err(), "bit {bit} of byte {at}");
            }
            assert!(Manifest::read(&bytes[..at]).is_err(), "cut to {at}");
        }
    }

    /// Byte for byte what the first version writes: a program that cannot read it any more strands a machine. One that writes
    /// another gets a new version, and keeps reading this one.
    #[test]
    fn the_format_is_what_it_was() {
        let text = include_str!("fixtures/version-1.manifest");
        assert_eq!(example().to_text(), text);
        assert_eq!(Manifest::read(text.as_bytes()).unwrap(), example());
    }

    #[test]
    fn nothing_with_a_right_sum_leads_out_of_its_folder() {
        for name in
            ["../lock", "/etc/passwd", "a/../b", "a/b/c", "", "a/", ".", "a b", "manifest", "a\\b", ".hidden"]
        {
            let mut evil = example();
            evil.files[0].name = name.into();
            assert!(Manifest::read(evil.to_text().as_bytes()).is_err(), "{name}");
        }
        let later = example().to_text().replacen("checkpoint 1", "checkpoint 2", 1);
        assert!(Manifest::read(later.as_bytes()).unwrap_err().contains("later version"));
    }
}
