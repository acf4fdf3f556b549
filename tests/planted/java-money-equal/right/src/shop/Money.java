package shop;

import java.math.BigDecimal;
import java.util.Objects;

/** An amount in a currency. */
public final class Money {
    private final BigDecimal value;
    private final String currency;

    public Money(BigDecimal value, String currency) {
        this.value = Objects.requireNonNull(value);
        this.currency = Objects.requireNonNull(currency);
    }

    /** The sum; both must be of one currency. */
    public Money plus(Money other) {
        if (!currency.equals(other.currency)) {
            throw new IllegalArgumentException(currency + " and " + other.currency);
        }
        return new Money(value.add(other.value), currency);
    }

    /** Whether both are the same amount; the scale does not matter. */
    public boolean isSameAs(Money other) {
        return currency.equals(other.currency) && value.compareTo(other.value) == 0;
    }

    /** Whether it is nothing. */
    public boolean isZero() {
        return value.signum() == 0;
    }

    @Override
    public String toString() {
        return value.toPlainString() + " " + currency;
    }
}
