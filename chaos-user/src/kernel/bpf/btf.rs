//! Where the fields of the kernel's structures are, from the type information (BTF) that it carries.
//!
//! aya reads BTF too, but keeps to itself what is in a structure.
//! <https://docs.kernel.org/bpf/btf.html>

use std::fs;

use super::BpfError;

/// Where the kernel shows its own.
const KERNEL: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
/// Name, kind and count, size or type: three words before what depends on the kind.
const TYPE_LENGTH: usize = 12;
/// Structures inside structures, without a name, that are followed.
const DEPTH: usize = 8;

/// Kinds of types, as far as they matter here.
mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const FUNC: u32 = 12;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const ENUM64: u32 = 19;
    pub(super) const LAST: u32 = ENUM64;
}

/// The types of a kernel.
#[derive(Debug)]
pub(super) struct TypeInfo {
    bytes: Vec<u8>,
    /// Where each type begins; the first has the number 1.
    types: Vec<usize>,
    strings: usize,
}

/// A type, without what depends on its kind.
#[derive(Debug, Clone, Copy)]
struct Type {
    at: usize,
    name: u32,
    kind: u32,
    count: usize,
    bitfields: bool,
    of: u32,
}

impl TypeInfo {
    /// Those of the running kernel.
    pub(super) fn of_kernel() -> Result<Self, BpfError> {
        let what =
            "read the kernel's type information (/sys/kernel/btf/vmlinux, CONFIG_DEBUG_INFO_BTF)";
        let bytes = fs::read(KERNEL).map_err(|source| BpfError::Io { what, source })?;
        Self::parse(bytes).ok_or(BpfError::NoType { name: "BTF of a known version".into() })
    }

    fn parse(bytes: Vec<u8>) -> Option<Self> {
        let magic = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
        let word = |at: usize| word(&bytes, at);
        let place = |at: usize| usize::try_from(word(at)?).ok();
        let header = place(4)?;
        let (first, length) = (header.checked_add(place(8)?)?, place(12)?);
        let strings = header.checked_add(place(16)?)?;
        let (mut at, end) = (first, first.checked_add(length)?);
        if magic != MAGIC || end > bytes.len() {
            return None;
        }
        let mut types = Vec::new();
        while at < end {
            types.push(at);
            let info = word(at + 4)?;
            let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
            at += TYPE_LENGTH
                + match kind {
                    kind::INT | kind::VAR | kind::DECL_TAG => 4,
                    kind::ARRAY => 12,
                    kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => count * 12,
                    kind::ENUM | kind::FUNC_PROTO => count * 8,
                    // How long a kind of type is that is not known yet cannot be guessed.
                    0 => return None,
                    _ if kind > kind::LAST => return None,
                    _ => 0,
                };
        }
        Some(Self { bytes, types, strings })
    }

    /// Bytes from the beginning of a structure to a field of it, which may be in a structure or union
    /// without a name inside it.
    pub(super) fn offset(&self, structure: &str, field: &str) -> Result<u32, BpfError> {
        let missing = || BpfError::NoType { name: format!("{structure}.{field}") };
        let mut all = self.all().filter(|one| one.kind == kind::STRUCT && self.is(one, structure));
        let bits = all.find_map(|one| self.field(one, field, DEPTH)).ok_or_else(missing)?;
        if bits % 8 == 0 { Ok(bits / 8) } else { Err(missing()) }
    }

    /// How many parameters a function of the kernel has.
    pub(super) fn parameters(&self, function: &str) -> Result<usize, BpfError> {
        let mut all = self.all().filter(|one| one.kind == kind::FUNC && self.is(one, function));
        let proto = all.find_map(|one| self.number(one.of));
        let proto = proto.filter(|proto| proto.kind == kind::FUNC_PROTO);
        proto.map(|proto| proto.count).ok_or_else(|| BpfError::NoType { name: function.into() })
    }

    fn field(&self, of: Type, wanted: &str, depth: usize) -> Option<u32> {
        let members = (0..of.count).map(|member| of.at + TYPE_LENGTH + member * 12);
        members.into_iter().find_map(|at| {
            let (name, number) = (self.word(at)?, self.word(at + 4)?);
            let bits = self.word(at + 8)?;
            let bits = if of.bitfields { bits & 0x00ff_ffff } else { bits };
            if name != 0 {
                return self.has_name(name, wanted).then_some(bits);
            }
            let inner = self.number(number).filter(Type::is_compound)?;
            let inside = self.field(inner, wanted, depth.checked_sub(1)?)?;
            bits.checked_add(inside)
        })
    }

    fn all(&self) -> impl Iterator<Item = Type> {
        self.types.iter().filter_map(|&at| self.at(at))
    }

    fn number(&self, number: u32) -> Option<Type> {
        let place = usize::try_from(number).ok()?.checked_sub(1)?;
        self.at(*self.types.get(place)?)
    }

    fn at(&self, at: usize) -> Option<Type> {
        let info = self.word(at + 4)?;
        Some(Type {
            at,
            name: self.word(at)?,
            kind: info >> 24 & 0x1f,
            count: (info & 0xffff) as usize,
            bitfields: info >> 31 == 1,
            of: self.word(at + 8)?,
        })
    }

    fn is(&self, one: &Type, name: &str) -> bool {
        self.has_name(one.name, name)
    }

    fn has_name(&self, at: u32, name: &str) -> bool {
        let text = self.bytes.get(self.strings.saturating_add(at as usize)..);
        let rest = text.and_then(|text| text.strip_prefix(name.as_bytes()));
        rest.is_some_and(|rest| rest.first() == Some(&0))
    }

    fn word(&self, at: usize) -> Option<u32> {
        word(&self.bytes, at)
    }
}

impl Type {
    fn is_compound(&self) -> bool {
        matches!(self.kind, kind::STRUCT | kind::UNION)
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    word.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRINGS: &[u8] = b"\0file\0f_mode\0f_inode\0open\0flags\0";

    fn at(name: &str) -> u32 {
        let name = format!("\0{name}\0");
        let found = STRINGS.windows(name.len()).position(|part| part == name.as_bytes());
        found.unwrap() as u32 + 1
    }

    fn info(kind: u32, count: u32) -> u32 {
        kind << 24 | count
    }

    /// `int`, `struct { int f_inode; }`, `struct file { int f_mode; int flags: 3; struct {…}; }`, and
    /// `open(int, int)`.
    fn example() -> Vec<u8> {
        let types = [
            vec![0, info(kind::INT, 0), 4, 32],
            vec![0, info(kind::STRUCT, 1), 4, at("f_inode"), 1, 0],
            vec![at("file"), info(kind::STRUCT, 3) | 1 << 31, 12],
            vec![at("f_mode"), 1, 0, at("flags"), 1, 0x0300_0023, 0, 2, 64],
            vec![0, info(kind::FUNC_PROTO, 2), 0, 0, 1, 0, 1],
            vec![at("open"), info(kind::FUNC, 0), 4],
        ];
        let types: Vec<u8> = types.concat().into_iter().flat_map(u32::to_ne_bytes).collect();
        let length = types.len() as u32;
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        for word in [24, 0, length, length, STRINGS.len() as u32] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(types);
        bytes.extend(STRINGS);
        bytes
    }

    #[test]
    fn fields_are_found_where_they_are() {
        let info = TypeInfo::parse(example()).unwrap();
        assert_eq!(info.offset("file", "f_mode").unwrap(), 0);
        assert_eq!(info.offset("file", "f_inode").unwrap(), 8, "inside a structure without a name");
        assert_eq!(info.parameters("open").unwrap(), 2);
        assert!(info.offset("file", "flags").is_err(), "not at a byte");
        assert!(info.offset("file", "f_mod").is_err());
        assert!(info.offset("fil", "f_mode").is_err());
        assert!(info.parameters("file").is_err());
    }

    #[test]
    fn nothing_panics() {
        let example = example();
        for at in 0..example.len() {
            let _ = TypeInfo::parse(example[..at].to_vec());
            for wrong in [0, 1, 0x7f, 0xff] {
                let mut spoilt = example.clone();
                spoilt[at] = wrong;
                if let Some(info) = TypeInfo::parse(spoilt) {
                    let _ = (info.offset("file", "f_inode"), info.parameters("open"));
                }
            }
        }
    }
}
