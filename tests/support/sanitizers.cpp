// How the sanitizers treat the tests. They call these functions at start; other builds never do.
extern "C" {

/// An impossible allocation fails as it does without a sanitizer.
const char* __asan_default_options() { return "allocator_may_return_null=1"; }  // NOLINT
/// Libraries that are not instrumented (HDF5, Open MPI) cannot be judged.
const char* __tsan_default_options() {
  return "allocator_may_return_null=1:ignore_noninstrumented_modules=1";
}  // NOLINT
/// HDF5 1.10 keeps a buffer when it cannot write its file.
const char* __lsan_default_suppressions() { return "leak:libhdf5"; }  // NOLINT

}  // extern "C"
