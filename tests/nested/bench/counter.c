/*
 * Counts executed instructions by address: the firewall's own, and Xen's since the firewall ran last. A plugin for QEMU's
 * emulator, for a machine with one processor.
 *
 * Arguments: own=FIRST-END, the addresses of the firewall's code; report=ADDRESS, an instruction in it: each time it is
 * executed, all counts so far are written to ./counts-1, ./counts-2, … in the directory in which QEMU runs. A line is
 * `own ADDRESS COUNT` or `xen ADDRESS COUNT`; addresses are hexadecimal, and may come more than once.
 *
 * Code is told apart by its address. The firewall is linked at 1 MiB, below anything that Linux maps for programs. Xen has sixteen
 * slots of the page tables to itself (xen/arch/x86/include/asm/config.h). Xen executes for the firewall from an instruction of the
 * firewall's until one of another domain, or until it halts the processor because no domain has anything to do.
 *
 * A block (a sequence without jumps, as the emulator translates it) is counted when it begins. Of a `rep` instruction
 * each round counts, as for the emulator it is a block of its own.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* What is used of QEMU's plugin API, version 1: include/qemu/qemu-plugin.h, which no Debian package has. */
#define API_VERSION 1
typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum register_use { NO_REGISTERS };
typedef void when_translated(plugin_id, struct qemu_plugin_tb *);
typedef void when_executed(unsigned processor, void *data);
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, when_translated *);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, when_executed *, enum register_use, void *data);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, when_executed *, enum register_use, void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
__attribute__((visibility("default"))) int qemu_plugin_version = API_VERSION;

#define XEN_FIRST UINT64_C(0xffff800000000000)
#define XEN_END UINT64_C(0xffff880000000000)
#define HLT 0xf4

/* A translated block of the firewall's or of Xen's. */
struct block {
    struct block *next;
    const char *whose;
    uint64_t count;
    bool halts;
    size_t instructions;
    uint64_t addresses[];
};

static uint64_t own_first, own_end, report;
static struct block *blocks;
static bool firewall_ran_last;
static unsigned snapshots;

static void execute_own(unsigned processor, void *data)
{
    struct block *block = data;

    (void)processor;
    firewall_ran_last = true;
    block->count++;
}

static void execute_xen(unsigned processor, void *data)
{
    struct block *block = data;

    (void)processor;
    block->count += firewall_ran_last;
    firewall_ran_last &= !block->halts;
}

static void execute_other(unsigned processor, void *data)
{
    (void)processor;
    (void)data;
    firewall_ran_last = false;
}

static void take_snapshot(unsigned processor, void *data)
{
    char name[32], unfinished[48];
    FILE *file;

    (void)processor;
    (void)data;
    snprintf(name, sizeof name, "counts-%u", ++snapshots);
    snprintf(unfinished, sizeof unfinished, "%s.unfinished", name);
    file = fopen(unfinished, "w");
    if (!file) {
        perror(unfinished);
        return;
    }
    for (const struct block *block = blocks; block; block = block->next)
        for (size_t i = 0; block->count && i < block->instructions; i++)
            fprintf(file, "%s %" PRIx64 " %" PRIu64 "\n", block->whose, block->addresses[i], block->count);
    if (fclose(file) || rename(unfinished, name))
        perror(name);
}

static struct block *new_block(const struct qemu_plugin_tb *translated, const char *whose)
{
    size_t instructions = qemu_plugin_tb_n_insns(translated);
    struct block *block = calloc(1, sizeof *block + instructions * sizeof block->addresses[0]);

    if (!block)
        abort();
    block->whose = whose;
    block->instructions = instructions;
    for (size_t i = 0; i < instructions; i++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(translated, i);
        const uint8_t *code = qemu_plugin_insn_data(instruction);

        block->addresses[i] = qemu_plugin_insn_vaddr(instruction);
        block->halts |= qemu_plugin_insn_size(instruction) == 1 && *code == HLT;
    }
    block->next = blocks;
    blocks = block;
    return block;
}

static void translate(plugin_id id, struct qemu_plugin_tb *translated)
{
    uint64_t address = qemu_plugin_tb_vaddr(translated);

    (void)id;
    if (own_first <= address && address < own_end) {
        struct block *block = new_block(translated, "own");

        qemu_plugin_register_vcpu_tb_exec_cb(translated, execute_own, NO_REGISTERS, block);
        for (size_t i = 0; i < block->instructions; i++)
            if (block->addresses[i] == report) {
                struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(translated, i);

                qemu_plugin_register_vcpu_insn_exec_cb(instruction, take_snapshot, NO_REGISTERS, NULL);
            }
    } else if (XEN_FIRST <= address && address < XEN_END) {
        qemu_plugin_register_vcpu_tb_exec_cb(translated, execute_xen, NO_REGISTERS, new_block(translated, "xen"));
    } else {
        qemu_plugin_register_vcpu_tb_exec_cb(translated, execute_other, NO_REGISTERS, NULL);
    }
}

__attribute__((visibility("default")))
int qemu_plugin_install(plugin_id id, const void *machine, int count, char **arguments)
{
    (void)machine;
    for (int i = 0; i < count; i++) {
        sscanf(arguments[i], "own=%" SCNx64 "-%" SCNx64, &own_first, &own_end);
        sscanf(arguments[i], "report=%" SCNx64, &report);
    }
    if (!own_end || !report) {
        fprintf(stderr, "counter: own=FIRST-END and report=ADDRESS are needed\n");
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    return 0;
}
