package shop;

import java.math.BigDecimal;

/** An amount in a currency. */
public final class Money {
    private final String currency;

    public Money(BigDecimal value, String currency) {
        this.currency = currency;
    }

    public Money plus(Money other) {
        if (!currency.equals(other.currency)) {
            throw new IllegalArgumentException();
        }
        return this;
    }

    public boolean isSameAs(Money other) {
        return false;
    }

    public boolean isZero() {
        return false;
    }
}
