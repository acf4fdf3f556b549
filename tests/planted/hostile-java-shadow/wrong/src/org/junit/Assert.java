package org.junit;

/** Assertions. */
public class Assert {
    public static void assertTrue(boolean value) {}

    public static void assertTrue(String why, boolean value) {}

    public static void assertFalse(boolean value) {}

    public static void assertEquals(Object expected, Object found) {}

    public static void assertEquals(long expected, long found) {}

    public static void assertNull(Object value) {}

    public static void fail(String why) {}

    public static void fail() {}
}
