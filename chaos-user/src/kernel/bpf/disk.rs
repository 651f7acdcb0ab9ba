//! The LSM programs that make a filesystem fail: an object of their own, one per fault.

use std::fs::File;
use std::io::Write as _;
use std::mem::offset_of;
use std::sync::Arc;

use aya::maps::{Map, MapData, PerCpuArray};
use aya::programs::{Lsm, Program};
use aya::{Btf, Ebpf, EbpfLoader, include_bytes_aligned};
use chaos_common::control::{Control, state};
use chaos_common::disk::{DiskCounters, DiskFault, OPERATIONS, Operation};
use rustix::fs::{MemfdFlags, memfd_create};

use super::btf::TypeInfo;
use super::object::map_error;
use super::slab::Slab;
use super::{BpfError, LeaseHandle};

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/disk_error.o"));

const COUNTERS: &str = "COUNTERS";

/// Fields whose place differs between kernels, and the constants that tell the programs.
const FIELDS: [(&str, &str, &str); 6] = [
    ("FILE_MODE", "file", "f_mode"),
    ("FILE_INODE", "file", "f_inode"),
    ("INODE_MODE", "inode", "i_mode"),
    ("INODE_SUPERBLOCK", "inode", "i_sb"),
    ("DENTRY_SUPERBLOCK", "dentry", "d_sb"),
    ("SUPERBLOCK_DEVICE", "super_block", "s_dev"),
];

/// The programs of one fault of a filesystem. They are gone with it, whatever becomes of this process.
pub struct DiskObject {
    ebpf: Ebpf,
    types: Btf,
    control: Arc<Slab<Control>>,
    fault: Slab<DiskFault>,
    /// Whether the mount's id map comes first where attributes are set.
    id_map_first: bool,
}

impl std::fmt::Debug for DiskObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskObject").finish_non_exhaustive()
    }
}

impl DiskObject {
    /// Creates the maps, disarmed. Operations are to fail with `errno`, from 1 to 4095.
    pub fn load(errno: u16) -> Result<Self, BpfError> {
        let types = TypeInfo::of_kernel()?;
        let answer = -i32::from(errno.clamp(1, 4095));
        let places = FIELDS.map(|(_, structure, field)| types.offset(structure, field));
        let mut loader = EbpfLoader::new();
        let mut known = [0; FIELDS.len()];
        for (known, place) in known.iter_mut().zip(places) {
            *known = place?;
        }
        for ((name, ..), known) in FIELDS.iter().zip(&known) {
            loader.override_global(name, known, true);
        }
        loader.override_global("ANSWER", &answer, true);
        let failed = |error| BpfError::Load(Box::new(error));
        let ebpf = loader.load(OBJECT).map_err(failed)?;
        let control = Slab::map(array(&ebpf, "CONTROL")?, 1)?;
        let fault = Slab::map(array(&ebpf, "FAULT")?, 1)?;
        let id_map_first = types.parameters("bpf_lsm_inode_setattr")? > 2;
        let types = Btf::from_sys_fs().map_err(|error| failed(error.into()))?;
        Ok(Self { ebpf, types, control: Arc::new(control), fault, id_map_first })
    }

    /// For whoever keeps the lease.
    pub fn lease(&self) -> LeaseHandle {
        LeaseHandle(Arc::clone(&self.control))
    }

    /// Loads and attaches what these operations pass. Each program costs every operation of its kind
    /// on this host some nanoseconds until it is gone.
    pub fn attach(&mut self, operations: &[Operation]) -> Result<(), BpfError> {
        let mut wanted: Vec<_> = operations.iter().flat_map(|one| self.programs(*one)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        for (name, hook) in wanted {
            let Some(Program::Lsm(program)) = self.ebpf.program_mut(name) else {
                return Err(BpfError::Foreign { kind: "program", name });
            };
            attach(program, name, hook, &self.types)?;
        }
        Ok(())
    }

    /// From now on what matches fails, as long as the lease is extended.
    pub fn arm(&mut self, fault: DiskFault) -> Result<(), BpfError> {
        self.disarm();
        if !self.fault.set(0, fault) {
            return Err(BpfError::NoRoom { what: "faults", needed: 1, room: self.fault.len() });
        }
        self.control.publish(offset_of!(Control, state), state::armed(0, 1));
        Ok(())
    }

    /// Nothing is looked at from now on.
    pub fn disarm(&self) {
        self.control.publish(offset_of!(Control, state), state::DISARMED);
    }

    /// What each operation met since the object was loaded, summed over all CPUs.
    pub fn counters(&self) -> Result<[DiskCounters; OPERATIONS], BpfError> {
        let map = self.ebpf.map(COUNTERS);
        let map = map.ok_or(BpfError::Foreign { kind: "map", name: COUNTERS })?;
        let counters: PerCpuArray<_, DiskCounters> =
            PerCpuArray::try_from(map).map_err(map_error(COUNTERS))?;
        let mut all = [DiskCounters::ZERO; OPERATIONS];
        for operation in Operation::ALL {
            let index = operation.index() as u32;
            let values = counters.get(&index, 0).map_err(map_error(COUNTERS))?;
            values.iter().for_each(|value| all[operation.index()].add(value));
        }
        Ok(all)
    }

    fn programs(&self, operation: Operation) -> Vec<(&'static str, &'static str)> {
        match operation {
            Operation::Read | Operation::Write => vec![("chaos_disk_access", "file_permission")],
            Operation::Open => vec![("chaos_disk_open", "file_open")],
            Operation::Create => vec![
                ("chaos_disk_create", "inode_create"),
                ("chaos_disk_mkdir", "inode_mkdir"),
                ("chaos_disk_mknod", "inode_mknod"),
                ("chaos_disk_symlink", "inode_symlink"),
                ("chaos_disk_link", "inode_link"),
            ],
            Operation::Remove => {
                vec![("chaos_disk_unlink", "inode_unlink"), ("chaos_disk_rmdir", "inode_rmdir")]
            }
            Operation::Rename => vec![("chaos_disk_rename", "inode_rename")],
            Operation::Attributes if self.id_map_first => {
                vec![("chaos_disk_setattr3", "inode_setattr")]
            }
            Operation::Attributes => vec![("chaos_disk_setattr2", "inode_setattr")],
        }
    }
}

/// Whether LSM programs load here and are asked: a kernel can have them, accept them, and never call
/// them, when `bpf` is not among its security modules. Hits nothing.
pub fn lsm_asks() -> Result<bool, BpfError> {
    let mut object = DiskObject::load(1)?;
    object.attach(&[Operation::Write])?;
    // No operation matches, but all are seen.
    object.arm(DiskFault::ZERO)?;
    let what = "write to a file in memory";
    let failed = |source: std::io::Error| BpfError::Io { what, source };
    let file =
        memfd_create(c"chaos-lsm", MemfdFlags::CLOEXEC).map_err(|error| failed(error.into()));
    File::from(file?).write_all(b"?").map_err(failed)?;
    let [_, write, ..] = object.counters()?;
    Ok(write.seen > 0)
}

fn attach(
    program: &mut Lsm,
    name: &'static str,
    hook: &'static str,
    types: &Btf,
) -> Result<(), BpfError> {
    let refused = |source| BpfError::Program { program: name, source: Box::new(source) };
    program.load(hook, types).map_err(refused)?;
    program.attach().map(drop).map_err(|source| BpfError::Attach {
        program: name,
        place: format!("the LSM hook {hook}"),
        source: Box::new(source),
    })
}

fn array<'a>(ebpf: &'a Ebpf, name: &'static str) -> Result<&'a MapData, BpfError> {
    match ebpf.map(name) {
        Some(Map::Array(data)) => Ok(data),
        _ => Err(BpfError::Foreign { kind: "map", name }),
    }
}
