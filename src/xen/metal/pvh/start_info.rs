//! Start info, read where Xen put it: behind the image, in memory that stays as it is.

use crate::xen::hvm_start_info::{HvmStartInfo, Module, StartInfoMistake};
use crate::xen::memory_map::{MapEntry, MemoryMap, MemoryMapMistake};
use core::ffi::CStr;
use core::fmt;
use core::ops::Range;

/// The memory that the entry code mapped.
pub const BOOT_MAPPING: Range<u64> = 1..1 << 30;

/// Most bytes of a command line: four times what a PV domain's start info has room for.
const MOST_TEXT: u64 = 4096;

/// What a domain is started with.
pub struct Start {
    /// The memory map.
    pub map: MemoryMap,
    /// The memory that the image is in.
    pub memory: Range<u64>,
    /// What of it is taken by what is named here.
    pub used: [Range<u64>; 5],
    /// The command line.
    pub command_line: &'static CStr,
    /// The ramdisk, if the domain has one.
    pub ramdisk: Option<&'static [u8]>,
}

/// What is wrong with what a domain is started with.
pub enum StartMistake {
    /// The start info.
    StartInfo(StartInfoMistake),
    /// The memory map.
    Memory(MemoryMapMistake),
    /// Something lies at an address that the entry code did not map.
    OutOfReach(Range<u64>),
    /// The command line has no end.
    CommandLine,
}

impl From<MemoryMapMistake> for StartMistake {
    fn from(mistake: MemoryMapMistake) -> Self {
        Self::Memory(mistake)
    }
}

impl fmt::Display for StartMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StartInfo(mistake) => mistake.fmt(f),
            Self::Memory(mistake) => mistake.fmt(f),
            Self::OutOfReach(range) => {
                write!(f, "start info: {:#x} to {:#x} are out of reach", range.start, range.end)
            }
            Self::CommandLine => f.write_str("start info: the command line has no end"),
        }
    }
}

impl Start {
    /// Reads start info, and all that it leads to, for a domain with the image at `image`.
    ///
    /// # Safety
    /// The mapping of the entry code is in force, and nobody writes what [`Self::used`] names, now or later.
    pub unsafe fn read(start_info: usize, image: &Range<u64>) -> Result<Self, StartMistake> {
        // SAFETY: the caller's contract; where nothing is, ones are read, and they are no start info.
        let read = |range: &Range<u64>| unsafe { bytes(range) };
        let info_range = start_info as u64..(start_info as u64).saturating_add(HvmStartInfo::BYTES as u64);
        let info = read(&info_range)?.first_chunk().ok_or(StartMistake::OutOfReach(info_range.clone()))?;
        let info = HvmStartInfo::parse(info).map_err(StartMistake::StartInfo)?;
        let map_range = info.memory_map.range(MapEntry::BYTES);
        let map = MemoryMap::parse(read(&map_range)?)?;
        let memory = map.ram_around(image)?;
        let read = |range: &Range<u64>| {
            map.ram_around(range).map_err(StartMistake::Memory).and_then(|_| read(range))
        };

        let modules_range = info.modules.range(Module::BYTES);
        let module = match info.modules.entries {
            0 => None,
            _ => read(&modules_range)?.first_chunk().map(Module::parse).filter(|module| !module.0.is_empty()),
        };
        let ramdisk = module.as_ref().map(|module| read(&module.0)).transpose()?;
        let command_line = match info.command_line {
            Some(start) => {
                let text = read(&(start..memory.end.min(start.saturating_add(MOST_TEXT))))?;
                CStr::from_bytes_until_nul(text).map_err(|_| StartMistake::CommandLine)?
            }
            None => c"",
        };
        let text_start = info.command_line.unwrap_or(info_range.start);
        let text_range = text_start..text_start + command_line.count_bytes() as u64 + 1;
        let ramdisk_range = module.map_or(0..0, |module| module.0);
        let used = [info_range, map_range, modules_range, text_range, ramdisk_range];
        Ok(Self { map, memory, used, command_line, ramdisk })
    }
}

/// # Safety
/// The mapping of the entry code is in force, and nobody writes there as long as the program runs.
unsafe fn bytes(range: &Range<u64>) -> Result<&'static [u8], StartMistake> {
    if range.start < BOOT_MAPPING.start || range.end > BOOT_MAPPING.end || range.start > range.end {
        return Err(StartMistake::OutOfReach(range.clone()));
    }
    let length = (range.end - range.start) as usize;
    // SAFETY: the entry code mapped all of it where it is; the caller's contract.
    Ok(unsafe { core::slice::from_raw_parts(range.start as *const u8, length) })
}
