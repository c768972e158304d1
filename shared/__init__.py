"""What more than one service needs: money, periods, events, settings, database, tables."""
