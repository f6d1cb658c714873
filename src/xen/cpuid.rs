//! What CPUID says to a PVH guest: whether Xen is there and how it is called, and what the CPU can protect.

/// The registers after CPUID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leaf {
    /// Register eax.
    pub eax: u32,
    /// Register ebx.
    pub ebx: u32,
    /// Register ecx.
    pub ecx: u32,
    /// Register edx.
    pub edx: u32,
}

impl Leaf {
    /// A string of twelve characters in ebx, ecx, edx is this one.
    fn spells(&self, [ebx, ecx, edx]: [&[u8; 4]; 3]) -> bool {
        [self.ebx, self.ecx, self.edx] == [ebx, ecx, edx].map(|text| u32::from_le_bytes(*text))
    }
}

/// Where Xen's leaves begin. `cpuid` asks for a leaf, at subleaf zero. Other interfaces that Xen offers beside its own
/// take the first leaves, hence the search.
pub fn xen_base(cpuid: impl Fn(u32) -> Leaf) -> Option<u32> {
    (0x4000_0000..0x4001_0000).step_by(0x100).find(|base| {
        let leaf = cpuid(*base);
        leaf.eax >= base + 2 && leaf.spells([b"XenV", b"MMXe", b"nVMM"])
    })
}

/// Number of the MSR that takes the address of a hypercall page.
pub fn hypercall_msr(base: u32, cpuid: impl Fn(u32) -> Leaf) -> u32 {
    cpuid(base + 2).ebx
}

/// The instruction that enters Xen. The CPU knows only its vendor's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VmCall {
    /// Intel and those who follow it: `vmcall`.
    Vmcall,
    /// AMD and Hygon: `vmmcall`.
    Vmmcall,
}

impl VmCall {
    /// By the vendor, in leaf 0.
    pub fn of(vendor: &Leaf) -> Self {
        let amd = [[b"Auth", b"cAMD", b"enti"], [b"Hygo", b"uine", b"nGen"]];
        if amd.into_iter().any(|name| vendor.spells(name)) { Self::Vmmcall } else { Self::Vmcall }
    }

    /// Its machine code.
    pub fn code(self) -> [u8; 3] {
        match self {
            Self::Vmcall => [0x0f, 0x01, 0xc1],
            Self::Vmmcall => [0x0f, 0x01, 0xd9],
        }
    }
}

/// Whether pages can be made not executable: in the extended feature flags, leaf 0x8000_0001.
pub fn has_no_execute(extended: &Leaf) -> bool {
    extended.edx & 1 << 20 != 0
}

/// The bits of cr4 for what the kernel must not do with user pages, which it has none of: executing (SMEP), reading
/// (SMAP); and for instructions that tell user code where our tables are (UMIP). `features` is leaf 7, subleaf 0.
pub fn protections(features: &Leaf) -> u64 {
    const UMIP: u64 = 1 << 11;
    const SMEP: u64 = 1 << 20;
    const SMAP: u64 = 1 << 21;
    [(features.ebx, 7, SMEP), (features.ebx, 20, SMAP), (features.ecx, 2, UMIP)]
        .into_iter()
        .filter(|(register, bit, _)| register & 1 << bit != 0)
        .fold(0, |bits, (_, _, protection)| bits | protection)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(eax: u32, text: &[u8; 12]) -> Leaf {
        let word = |at| u32::from_le_bytes([text[at], text[at + 1], text[at + 2], text[at + 3]]);
        Leaf { eax, ebx: word(0), ecx: word(4), edx: word(8) }
    }

    #[test]
    fn xen_is_found_behind_other_interfaces() {
        let machine = |leaf| match leaf {
            0x4000_0000 => spelled(0x4000_0006, b"Microsoft Hv"),
            0x4000_0100 => spelled(0x4000_0105, b"XenVMMXenVMM"),
            0x4000_0102 => Leaf { ebx: 0x4000_0000, ..Leaf::default() },
            _ => Leaf::default(),
        };
        assert_eq!(xen_base(machine), Some(0x4000_0100));
        assert_eq!(hypercall_msr(0x4000_0100, machine), 0x4000_0000);
    }

    #[test]
    fn other_hypervisors_are_not_xen() {
        assert_eq!(xen_base(|_| spelled(0x4000_0001, b"KVMKVMKVM\0\0\0")), None);
        assert_eq!(xen_base(|_| spelled(0x4000_0001, b"XenVMMXenVMM")), None);
    }

    #[test]
    fn each_vendor_has_its_instruction() {
        // The vendor's string is in ebx, edx, ecx.
        let vendor = |ebx: &[u8; 4], edx: &[u8; 4], ecx: &[u8; 4]| {
            let [ebx, ecx, edx] = [ebx, ecx, edx].map(|text| u32::from_le_bytes(*text));
            VmCall::of(&Leaf { eax: 13, ebx, ecx, edx })
        };
        assert_eq!(vendor(b"Genu", b"ineI", b"ntel"), VmCall::Vmcall);
        assert_eq!(vendor(b"Auth", b"enti", b"cAMD"), VmCall::Vmmcall);
        assert_eq!(vendor(b"Hygo", b"nGen", b"uine"), VmCall::Vmmcall);
    }

    #[test]
    fn only_protections_that_the_cpu_has_are_turned_on() {
        let features = |ebx, ecx| protections(&Leaf { ebx, ecx, ..Leaf::default() });
        assert_eq!(features(0, 0), 0);
        assert_eq!(features(1 << 7, 0), 1 << 20);
        assert_eq!(features(1 << 20, 0), 1 << 21);
        assert_eq!(features(0, 1 << 2), 1 << 11);
        assert_eq!(features(u32::MAX, u32::MAX), 1 << 20 | 1 << 21 | 1 << 11);
        assert!(has_no_execute(&Leaf { edx: 1 << 20, ..Leaf::default() }));
        assert!(!has_no_execute(&Leaf::default()));
    }
}
