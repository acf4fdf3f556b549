package rental;

/** What a rental costs. */
public final class Billing {
    private Billing() {}

    /** Cents for a number of days; every seventh day is free. */
    public static long price(int days, long centsPerDay) {
        return (days - days / 7) * centsPerDay;
    }
}
