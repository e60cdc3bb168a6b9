"""Study: can larger data sets be repeated more often?"""
