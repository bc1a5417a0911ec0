"""The verb `report`: one HTML page with table, plots and mistakes."""
