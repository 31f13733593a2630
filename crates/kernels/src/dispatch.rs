//! One body, compiled once for each instruction set.

/// Defines a safe function whose plain loops are compiled for every [`crate::Isa`], so that the compiler vectorises
/// them with what the processor has; where it does not see how, the body may use the type `V`, sixteen lanes of that
/// set ([`crate::vector::Vector`]). Closures are no part of a body: they would not inherit the instructions. Rust never fuses a multiply and an add by itself: the bits are the same on all.
macro_rules! per_isa {
    ($(#[$meta:meta])* $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $visibility fn $name(isa: $crate::Isa, $($argument: $type),*) {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn body<V: $crate::vector::Vector>($($argument: $type),*) $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx2($($argument: $type),*) { body::<$crate::vector::Avx2>($($argument),*) }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
            #[allow(clippy::too_many_arguments)]
            fn avx512($($argument: $type),*) { body::<$crate::vector::Avx512>($($argument),*) }
            assert!(isa.is_available(), "{isa} kernels on a processor without them");
            match isa {
                $crate::Isa::Portable => body::<$crate::vector::Portable>($($argument),*),
                // SAFETY: the processor has these instructions, asserted above.
                #[cfg(target_arch = "x86_64")]
                $crate::Isa::Avx2 => unsafe { avx2($($argument),*) },
                // SAFETY: the processor has these instructions, asserted above.
                #[cfg(target_arch = "x86_64")]
                $crate::Isa::Avx512 | $crate::Isa::Avx512Bf16 | $crate::Isa::Amx => unsafe { avx512($($argument),*) },
                #[cfg(not(target_arch = "x86_64"))]
                _ => unreachable!("not available"),
            }
        }
    };
}
