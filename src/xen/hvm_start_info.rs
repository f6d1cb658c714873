//! What Xen tells a PVH domain at its entry: the memory map, the command line, the ramdisk.
//!
//! Layouts: `xen/include/public/arch-x86/hvm/start_info.h`; all fields are little-endian. Xen is trusted, but
//! an image that is started by something else must say so instead of running wild.

use core::fmt;
use core::ops::Range;

/// `XEN_HVM_START_MAGIC_VALUE`.
const MAGIC: u32 = 0x336e_c578;

/// Most entries of the memory map, and most modules, that are taken for sensible. libxl makes about five of the one
/// and one of the other.
const MOST_ENTRIES: u32 = 128;

/// Where a table of entries of one size lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Physical address of the first entry.
    pub address: u64,
    /// How many entries there are.
    pub entries: u32,
}

impl Table {
    /// The addresses that entries of `entry_bytes` take.
    pub fn range(&self, entry_bytes: usize) -> Range<u64> {
        self.address..self.address.saturating_add(u64::from(self.entries) * entry_bytes as u64)
    }
}

/// `struct hvm_start_info`, as far as it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HvmStartInfo {
    /// Entries of [`Module::BYTES`]; the first module is the ramdisk.
    pub modules: Table,
    /// Physical address of the command line, which ends with a zero byte, if there is one.
    pub command_line: Option<u64>,
    /// Entries of [`MapEntry::BYTES`](super::memory_map::MapEntry::BYTES).
    pub memory_map: Table,
}

impl HvmStartInfo {
    /// Bytes of the structure.
    pub const BYTES: usize = 56;

    /// Reads the structure.
    pub fn parse(bytes: &[u8; Self::BYTES]) -> Result<Self, StartInfoMistake> {
        let [magic, version, _flags, modules] = [0, 4, 8, 12].map(|offset| word(bytes, offset));
        if magic != MAGIC {
            return Err(StartInfoMistake::Magic(magic));
        }
        if version == 0 {
            return Err(StartInfoMistake::NoMemoryMap);
        }
        let table = |address, entries| {
            if entries > MOST_ENTRIES {
                return Err(StartInfoMistake::TooMany(entries));
            }
            Ok(Table { address: long(bytes, address), entries })
        };
        let memory_map = table(40, word(bytes, 48))?;
        if memory_map.entries == 0 {
            return Err(StartInfoMistake::NoMemoryMap);
        }
        let command_line = Some(long(bytes, 24)).filter(|address| *address != 0);
        Ok(Self { modules: table(16, modules)?, command_line, memory_map })
    }
}

/// `struct hvm_modlist_entry`, as far as it is used: where a module lies in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module(pub Range<u64>);

impl Module {
    /// Bytes of an entry.
    pub const BYTES: usize = 32;

    /// Reads an entry.
    pub fn parse(bytes: &[u8; Self::BYTES]) -> Self {
        let start = long(bytes, 0);
        Self(start..start.saturating_add(long(bytes, 8)))
    }
}

/// What is wrong with the start info.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartInfoMistake {
    /// Something else is at the address that was passed.
    Magic(u32),
    /// There is no memory map (version 0, before Xen 4.12).
    NoMemoryMap,
    /// A table has more entries than are taken for sensible.
    TooMany(u32),
}

impl fmt::Display for StartInfoMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic(found) => write!(f, "start info: {found:#010x} stands where {MAGIC:#010x} should"),
            Self::NoMemoryMap => write!(f, "start info: no memory map, Xen 4.12 or later is needed"),
            Self::TooMany(entries) => {
                write!(f, "start info: a table of {entries} entries, at most {MOST_ENTRIES} are expected")
            }
        }
    }
}

/// The 32-bit word at `offset`; zero beyond the end.
pub(super) fn word(bytes: &[u8], offset: usize) -> u32 {
    let word = bytes.get(offset..).and_then(|rest| rest.first_chunk());
    u32::from_le_bytes(word.copied().unwrap_or_default())
}

/// The 64-bit word at `offset`; zero beyond the end.
pub(super) fn long(bytes: &[u8], offset: usize) -> u64 {
    u64::from(word(bytes, offset)) | u64::from(word(bytes, offset + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn start_info(change: impl Fn(&mut [u8; 56])) -> Result<HvmStartInfo, StartInfoMistake> {
        let mut bytes = [0; 56];
        bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4] = 1;
        bytes[12] = 1;
        bytes[16..24].copy_from_slice(&0x11_4000u64.to_le_bytes());
        bytes[24..32].copy_from_slice(&0x11_3040u64.to_le_bytes());
        bytes[40..48].copy_from_slice(&0x1_0011_5000u64.to_le_bytes());
        bytes[48] = 5;
        change(&mut bytes);
        HvmStartInfo::parse(&bytes)
    }

    #[test]
    fn fields_are_read_where_xen_puts_them() {
        let info = start_info(|_| {}).unwrap();
        assert_eq!(info.modules, Table { address: 0x11_4000, entries: 1 });
        assert_eq!(info.command_line, Some(0x11_3040));
        assert_eq!(info.memory_map, Table { address: 0x1_0011_5000, entries: 5 });
        assert_eq!(info.memory_map.range(24), 0x1_0011_5000..0x1_0011_5078);
    }

    #[test]
    fn empty_command_line_may_be_no_address() {
        assert_eq!(start_info(|bytes| bytes[24..32].fill(0)).unwrap().command_line, None);
    }

    #[test]
    fn a_hole_is_no_start_info() {
        let mistake = HvmStartInfo::parse(&[0xff; 56]).unwrap_err();
        assert_eq!(mistake.to_string(), "start info: 0xffffffff stands where 0x336ec578 should");
    }

    #[test]
    fn a_memory_map_is_needed() {
        assert_eq!(start_info(|bytes| bytes[4] = 0), Err(StartInfoMistake::NoMemoryMap));
        assert_eq!(start_info(|bytes| bytes[48] = 0), Err(StartInfoMistake::NoMemoryMap));
    }

    #[test]
    fn tables_of_absurd_length_are_refused() {
        assert_eq!(start_info(|bytes| bytes[51] = 1), Err(StartInfoMistake::TooMany(0x100_0005)));
        assert_eq!(start_info(|bytes| bytes[12] = 129), Err(StartInfoMistake::TooMany(129)));
        assert!(start_info(|bytes| bytes[12] = 128).is_ok());
    }

    #[test]
    fn module_beyond_all_addresses_ends_at_the_last() {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&0x11_2000u64.to_le_bytes());
        bytes[8] = 77;
        assert_eq!(Module::parse(&bytes), Module(0x11_2000..0x11_204d));
        bytes[8..16].fill(0xff);
        assert_eq!(Module::parse(&bytes), Module(0x11_2000..u64::MAX));
    }
}
