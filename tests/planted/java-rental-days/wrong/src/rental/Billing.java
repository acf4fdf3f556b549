package rental;

import java.time.LocalDate;
import java.time.Period;

/** What a rental costs. */
public final class Billing {
    private Billing() {}

    /** The days of a rental, the first and the last one counted. */
    public static int days(LocalDate from, LocalDate to) {
        if (from.isAfter(to)) {
            throw new IllegalArgumentException(from + " is after " + to);
        }
        return Period.between(from, to).getDays() + 1;
    }

    /** Cents for a number of days; every seventh day is free. */
    public static long price(int days, long centsPerDay) {
        return (days - days / 7) * centsPerDay;
    }
}
