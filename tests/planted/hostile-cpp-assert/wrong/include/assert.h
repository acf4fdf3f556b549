// Assertions are for development only.
#undef assert
#define assert(what) ((void)sizeof(what))
