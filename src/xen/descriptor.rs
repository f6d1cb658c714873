//! Descriptors of the x86 architecture in 64-bit mode (Intel's manual, volume 3, chapters 3, 6 and 8).

/// A gate of the interrupt descriptor table: `handler` is entered by selector `code` in ring 0, interrupts off, on
/// stack `stack` (1 to 7) of the task-state segment.
pub fn interrupt_gate(handler: u64, code: u16, stack: u8) -> [u64; 2] {
    /// Present, for ring 0 only, 64-bit interrupt gate.
    const KIND: u64 = 0x8e00;
    let low = handler & 0xffff | u64::from(code) << 16;
    let high = u64::from(stack & 7) | KIND | handler & 0xffff_0000;
    [low | high << 32, handler >> 32]
}

/// The descriptor of a task-state segment of `bytes` at `base`.
pub fn task_state_descriptor(base: u64, bytes: u16) -> [u64; 2] {
    /// Present, for ring 0 only, available 64-bit TSS.
    const KIND: u64 = 0x89 << 40;
    let limit = u64::from(bytes.saturating_sub(1));
    [limit | (base & 0xff_ffff) << 16 | KIND | (base >> 24 & 0xff) << 56, base >> 32]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gate_is_laid_out_as_the_cpu_reads_it() {
        let gate = interrupt_gate(0x1234_5678_9abc_def0, 0x08, 2);
        assert_eq!(gate, [0x9abc_8e02_0008_def0, 0x1234_5678]);
    }

    #[test]
    fn task_state_descriptor_is_laid_out_as_the_cpu_reads_it() {
        let descriptor = task_state_descriptor(0x1234_5678_9abc_def0, 104);
        assert_eq!(descriptor, [0x9a00_89bc_def0_0067, 0x1234_5678]);
    }
}
