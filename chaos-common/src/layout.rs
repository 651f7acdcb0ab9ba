//! One way to declare a type that lives in a BPF map.

/// Declares `repr(C)` structs, proves that they have no padding (zerocopy refuses to derive
/// `IntoBytes` otherwise), asserts their size, and makes them usable as map keys and values.
macro_rules! shared {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident [$size:literal] {
            $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash,
            zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout,
        )]
        #[repr(C)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
        }

        const _: () = assert!(size_of::<$name>() == $size);

        impl $name {
            /// All fields zero.
            pub const ZERO: Self = Self { $($field: <$type as crate::layout::Zero>::ZERO,)* };
        }

        impl crate::layout::Zero for $name {
            const ZERO: Self = Self::ZERO;
        }

        #[cfg(feature = "user")]
        #[expect(unsafe_code, reason = "aya marks plain-data types with an unsafe trait")]
        // SAFETY: repr(C), and the IntoBytes and FromBytes derives prove that there is no padding
        // and that every bit pattern is valid.
        unsafe impl aya::Pod for $name {}
    )*};
}
pub(crate) use shared;

/// The all-zero value, usable in constants.
pub(crate) trait Zero {
    /// All bits zero.
    const ZERO: Self;
}

macro_rules! zero_integers {
    ($($type:ty),*) => {$(
        impl Zero for $type {
            const ZERO: Self = 0;
        }
    )*};
}
zero_integers!(u8, u16, u32, u64);

impl<T: Zero + Copy, const N: usize> Zero for [T; N] {
    const ZERO: Self = [T::ZERO; N];
}
